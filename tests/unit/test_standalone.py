"""The command ``mxnet-model-server``: bad input is refused before anything is loaded."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from mms_server import standalone


@pytest.fixture(autouse=True)
def _scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["a"], "Failed to parse <model=path>: a. Fix: Format should be <model-name>"),
        (["=a.model"], "Failed to parse"),
        (["a="], "Failed to parse"),
        (["a/b=c.model"], "Failed to parse"),
        (["a=b.model", "a=c.model"], "the name a is given twice"),
        (["a=/missing/b.model"], "/missing/b.model: it cannot be unpacked: No such file"),
        (["a=https://host/b.model"], "not downloaded by this version"),
        (["a=s3://bucket/b.model"], "not downloaded by this version"),
        (["a=net.onnx"], "Convert ONNX model using mxnet-model-export before serving."),
        (["a=b", "--gen-api", "java"], "--gen-api: clients are not generated"),
        (["a=b", "--gpu", "0"], "--gpu: this version serves on the CPU"),
    ],
)
def test_refusals(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert standalone.main(["--models", *words]) == 2
    assert says in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--models", "a=b", "--port", "0"],
        ["--models", "a=b", "--workers", "0"],
        ["--models", "a=b", "--metrics-write-to", "statsd"],
    ],
)
def test_bad_flags(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        standalone.main(words)
    assert caught.value.code == 2


@pytest.mark.parametrize(
    ("flag", "value"),
    [("--log-level", "NOTEST"), ("--log-rotation-time", "0 H"), ("--log-rotation-time", "1 W7")],
)
def test_a_log_option_that_is_not_understood(
    flag: str, value: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    assert standalone.main(["--models", f"a={tmp_path / 'a'}", flag, value]) == 1
    text = capsys.readouterr().err
    assert f"Failed to initialize model serving: {flag} {value} is not" in text
    assert "Fix:" in text


def test_a_location_may_have_equals_signs_and_a_scheme(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert standalone.main(["--models", f"a=file://{tmp_path}/x=y.model"]) == 2
    assert f"{tmp_path}/x=y.model: it cannot be unpacked" in capsys.readouterr().err
