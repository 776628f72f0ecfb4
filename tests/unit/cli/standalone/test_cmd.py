"""The command ``mxnet-model-server``: bad input is refused before anything is loaded."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import gevent.monkey
import pytest

from mms_server.cli.standalone import cmd


@pytest.fixture(autouse=True)
def _scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    # The command owns its process, a test does not.
    monkeypatch.setattr(gevent.monkey, "patch_all", lambda: None)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["a"], "Failed to parse <model=path>: a. Fix: Format should be <model-name>"),
        (["=a.model"], "Failed to parse"),
        (["a="], "Failed to parse"),
        (["a/b=c.model"], "Failed to parse"),
        (["a=b.model", "a=c.model"], "the name a is given twice"),
        (["a=/missing/b.model"], "archive /missing/b.model does not exist"),
        (["a=https://169.254.169.254/b.model"], "where archives are never fetched from"),
        (["a=s3://b/b.model"], "'b' is not a bucket's name"),
        (["a=s3://bucket/b.model#sha256=1"], "64 hexadecimal digits"),
        (["a=ftp://host/b.model"], "not a location that is understood"),
        (["a=net.onnx"], "Convert ONNX model using mxnet-model-export before serving."),
        (["a={0}", "--gpu", "0"], "--gpu 0: there is no GPU here that MXNet can use. Fix: "),
        (["a={0}", "--num-gpu", "2"], "--num-gpu 2: there is no GPU here"),
    ],
)
def test_refusals(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    directory = tmp_path / "unpacked"
    directory.mkdir()
    assert cmd.main(["--models", *(word.format(directory) for word in words)]) == 2
    assert says in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [directory]


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--models", "a=b", "--port", "0"],
        ["--models", "a=b", "--workers", "0"],
        ["--models", "a=b", "--gpu", "-1"],
        ["--models", "a=b", "--num-gpu", "0"],
        ["--models", "a=b", "--metrics-write-to", "statsd"],
    ],
)
def test_bad_flags(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cmd.main(words)
    assert caught.value.code == 2


@pytest.mark.parametrize(
    ("flag", "value"),
    [("--log-level", "NOTEST"), ("--log-rotation-time", "0 H"), ("--log-rotation-time", "1 W7")],
)
def test_a_log_option_that_is_not_understood(
    flag: str, value: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    assert cmd.main(["--models", f"a={tmp_path / 'a'}", flag, value]) == 1
    text = capsys.readouterr().err
    assert f"Failed to initialize model serving: {flag} {value} is not" in text
    assert "Fix:" in text


def test_nothing_imports_the_network_before_it_is_gevents() -> None:
    program = (
        "import sys; from mms_server.cli import server_main; "
        "from mms_server.cli.standalone import cmd; "
        "sys.exit(len({'ssl', 'socket', 'urllib3'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_location_may_have_equals_signs_and_a_scheme(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cmd.main(["--models", f"a=file://{tmp_path}/x=y.model"]) == 2
    assert f"archive {tmp_path}/x=y.model does not exist" in capsys.readouterr().err
