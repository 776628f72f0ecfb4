"""Tests of service files in the exporter: import in a child process, and the kind of model."""

from __future__ import annotations

import json
import secrets
import zipfile
from pathlib import Path

import pytest

from mms_server.core.errors import MMSError
from mms_server.export import exporter
from mms_server.export.model_files import find_model_files
from tests.fixtures.tiny_model import SERVICE, export

# These tests start child processes that import MXNet.
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("inside", [True, False])
def test_a_user_service_file_is_packed(source: Path, tmp_path: Path, inside: bool) -> None:
    file = (source if inside else tmp_path) / "my_service.py"
    file.write_text(SERVICE)
    argument = "my_service.py" if inside else str(file)
    archive = export(source, tmp_path / "tiny.model", service=argument)
    with zipfile.ZipFile(archive) as opened:
        assert opened.namelist().count("my_service.py") == 1
        assert "mxnet_vision_service.py" not in opened.namelist()
        assert json.loads(opened.read("MANIFEST.json"))["Model"]["Service"] == "my_service.py"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import no_such_module", "cannot be imported"),
        ("x = 1", "one user defined service"),
        (SERVICE + "class Other(MXNetVisionService):\n    pass\n", "MyService, Other"),
        (
            (
                "from mms.model_service.model_service import SingleNodeService\n"
                "class Mine(SingleNodeService):\n    pass\n"
            ),
            "derived from neither of MXNetBaseService, Gluon",
        ),
    ],
)
def test_bad_service_files_are_refused(source: Path, tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(MMSError, match=says):
        export(source, tmp_path / "tiny.model", service=str(tmp_path / "mine.py"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import os; os._exit(0)", "exited with code 0 before it answered"),
        ("import os; os.kill(os.getpid(), 9)", "was killed by signal 9"),
    ],
)
def test_a_service_file_that_ends_the_process_is_refused(
    source: Path, tmp_path: Path, text: str, says: str
) -> None:
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(MMSError, match=says):
        export(source, tmp_path / "tiny.model", service=str(tmp_path / "mine.py"))
    assert not (tmp_path / "tiny.model").exists()


def test_a_service_file_that_hangs_is_refused(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "_IMPORT_TIMEOUT_S", 1.0)
    (tmp_path / "mine.py").write_text("import time\ntime.sleep(60)\n")
    with pytest.raises(MMSError, match="ran longer than 1 s"):
        export(source, tmp_path / "tiny.model", service=str(tmp_path / "mine.py"))


def test_output_goes_to_stderr_and_child_processes_are_killed(
    source: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    seconds = f"61.{secrets.randbelow(10**9)}"
    (tmp_path / "mine.py").write_text(
        "import subprocess, sys, threading, time\n"
        'print(\'{"value": "gluon"}\')\n'
        "threading.Thread(target=time.sleep, args=(60,)).start()\n"
        f"child = subprocess.Popen(['sleep', '{seconds}'])\n" + SERVICE
    )
    export(source, tmp_path / "tiny.model", service=str(tmp_path / "mine.py"))
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "gluon" in captured.err
    # The child was killed: a zombie that is not reaped yet has an empty command line.
    running = [file for file in Path("/proc").glob("[0-9]*/cmdline") if seconds in _text(file)]
    assert running == []


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:  # the process has ended in the meantime
        return ""


GLUON = """
from mms.model_service.mxnet_model_service import GluonImperativeBaseService


class Mine(GluonImperativeBaseService):
    pass
"""
BOTH = """
from mms.model_service.mxnet_model_service import GluonImperativeBaseService, MXNetBaseService


class Mine(MXNetBaseService, GluonImperativeBaseService):
    pass
"""


@pytest.mark.parametrize("parameters", ["", "any name.params"])
def test_a_gluon_service_needs_no_symbol(source: Path, tmp_path: Path, parameters: str) -> None:
    (source / "tiny-symbol.json").unlink()
    (source / "tiny-0003.params").unlink()
    if parameters:
        (source / parameters).write_bytes(b"weights")
    (source / "mine.py").write_text(GLUON)
    with zipfile.ZipFile(export(source, tmp_path / "tiny.model", service="mine.py")) as opened:
        manifest = json.loads(opened.read("MANIFEST.json"))
    model = manifest["Model"]
    assert model["Model-Format"] == "Gluon-Imperative"
    assert (model["Symbol"], model["Parameters"]) == ("", parameters)
    assert (model["Service"], manifest["Engine"]) == ("mine.py", {"MXNet": "1.9.1"})


@pytest.mark.parametrize(
    ("remove", "text", "says"),
    [
        ("", GLUON, "More than one model type is present: tiny-symbol.json, tiny-0003.params, a"),
        ("tiny-0003.params", GLUON, "Incomplete MXNet model"),
        ("", BOTH, "derived from both of MXNetBaseService, GluonImperativeBaseService"),
    ],
)
def test_gluon_refusals(source: Path, tmp_path: Path, remove: str, text: str, says: str) -> None:
    if remove:
        (source / remove).unlink()
    (source / "mine.py").write_text(text)
    with pytest.raises(MMSError, match=says):
        export(source, tmp_path / "tiny.model", service="mine.py")


@pytest.mark.parametrize("names", [[], ["-symbol.json"], [".params"], ["-symbol.json", ".params"]])
@pytest.mark.parametrize("gluon", [True, False])
def test_an_onnx_file_beside_other_model_files_is_refused(
    tmp_path: Path, names: list[str], gluon: bool
) -> None:
    every = dict.fromkeys(["a.onnx", *(f"a{name}" for name in names)])
    if not names and not gluon:
        assert find_model_files(tmp_path, every, gluon=gluon).onnx == "a.onnx"
    else:
        with pytest.raises(MMSError, match="More than one model type"):
            find_model_files(tmp_path, every, gluon=gluon)


def test_a_service_file_in_a_sub_directory(source: Path, tmp_path: Path) -> None:
    (source / "code").mkdir()
    (source / "code" / "mine.py").write_text(SERVICE)
    with zipfile.ZipFile(export(source, tmp_path / "a.model", service="code/mine.py")) as opened:
        assert [name for name in opened.namelist() if name.endswith(".py")] == ["code/mine.py"]
        assert json.loads(opened.read("MANIFEST.json"))["Model"]["Service"] == "mine.py"


def test_a_missing_service_file_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(MMSError, match="no such service file"):
        export(source, tmp_path / "tiny.model", service="missing.py")
