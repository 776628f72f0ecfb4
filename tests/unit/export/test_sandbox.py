"""Tests of the exporter's sandbox: what foreign code can reach in bubblewrap and without it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mms_server.core.errors import ArchiveError, MMSError
from mms_server.export import child_process, sandbox
from mms_server.export.sandbox import Task
from tests.unit.roles.modules import ROOT

SERVICE = """
import json

from mms.model_service.mxnet_model_service import MXNetBaseService

import reach

with open({question!r}) as stream:
    print("found", json.dumps(reach.facts(json.load(stream))))


class Mine(MXNetBaseService):
    pass
"""
LIMIT_S = 60.0

pytestmark = pytest.mark.usefixtures("_no_systemd")


@pytest.fixture
def _no_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not use systemd: these tests must not start units. tests/hosts covers systemd."""
    monkeypatch.setattr(sandbox, "_can_use_systemd", lambda _task: False)


@pytest.fixture
def bubblewrap() -> None:
    program = shutil.which("bwrap")
    if not program:
        pytest.skip("bubblewrap is not installed")
    if not sandbox._bubblewrap_works(program):
        pytest.skip("the kernel does not let bubblewrap create namespaces here")


@pytest.fixture
def no_sandbox(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def run_probe(directory: Path, port: int, capfd: pytest.CaptureFixture[str]) -> tuple[Any, str]:
    """Let the exporter import a service file that probes its sandbox.

    Return what that file found out, and all that was printed to stderr.
    """
    model, other = directory / "model", directory / "other"
    model.mkdir()
    other.mkdir()
    shutil.copy(ROOT / "tests" / "reach.py", model)
    question = {
        "addresses": [f"127.0.0.1:{port}"],
        "sockets": [],
        "readable": [str(other), str(model), "/etc/shadow", "/etc/hostname", "/var/log"],
        "writable": [str(other), str(model), str(ROOT), "/usr", "/etc", "/tmp"],  # noqa: S108
        "listed": [],
    }
    (model / "question.json").write_text(json.dumps(question))
    (model / "mine.py").write_text(SERVICE.format(question=str(model / "question.json")))
    kind = child_process.run(
        child_process.SERVICE,
        str(model / "mine.py"),
        where=model / "mine.py",
        timeout_s=LIMIT_S,
        readable=[model],
    )
    assert kind == child_process.SYMBOLIC
    printed = capfd.readouterr()
    assert printed.out == ""
    line = next(row for row in printed.err.splitlines() if row.startswith("found"))
    return json.loads(line.removeprefix("found ")), printed.err


@pytest.mark.usefixtures("bubblewrap")
def test_bubblewrap_gives_the_model_s_directory_to_read_and_nothing_else(
    tmp_path: Path, port: int, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "not for models")
    found, printed = run_probe(tmp_path, port, capfd)
    done = {name for name, outcome in found["reach"].items() if outcome == "done"}
    allowed = {f"read {tmp_path / 'model'}", "write /tmp", "kill 1"}  # process 1 is the probe
    assert {name for name in done if not name.startswith("call")} == allowed
    assert not any(str(os.getpid()) in command for command in found["processes"])
    assert "SECRET" not in found["environ"]
    assert sandbox.UNCONFINED not in printed


@pytest.mark.usefixtures("no_sandbox")
def test_without_a_sandbox_the_code_runs_with_a_warning(
    tmp_path: Path, port: int, capfd: pytest.CaptureFixture[str]
) -> None:
    found, printed = run_probe(tmp_path, port, capfd)
    assert found["reach"][f"connect 127.0.0.1:{port}"] == "done"
    assert printed.count(sandbox.UNCONFINED) == 1
    assert "Fix: install bubblewrap" in printed


@pytest.mark.usefixtures("bubblewrap")
@pytest.mark.parametrize(
    ("text", "says", "limit_s"),
    [
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "killed by signal 9", LIMIT_S),
        ("import os\nos._exit(3)", "exited with code 3", LIMIT_S),
        ("import os\nos._exit(255)", "exited with code 255", LIMIT_S),
        ("import time\ntime.sleep(60)", "ran longer than 2 s", 2.0),
        ("raise SystemExit(1)", "cannot be imported", LIMIT_S),
    ],
)
def test_ends_of_sandboxed_code_are_reported_as_without_a_sandbox(
    tmp_path: Path, text: str, says: str, limit_s: float
) -> None:
    (tmp_path / "mine.py").write_text(f"{text}\n")
    file = tmp_path / "mine.py"
    with pytest.raises(MMSError, match=says):
        child_process.run(
            child_process.SERVICE, str(file), where=file, timeout_s=limit_s, readable=[tmp_path]
        )


@pytest.mark.usefixtures("bubblewrap")
def test_a_task_can_write_into_its_writable_directory(tmp_path: Path) -> None:
    writable = tmp_path / "writable"
    writable.mkdir()
    command = [sys.executable, "-c", f"open({str(writable / 'x')!r}, 'w')"]
    task = Task(command, dict(os.environ), [tmp_path], writable)
    with sandbox.confined(task, LIMIT_S) as sandboxed:
        assert sandbox.process.run(sandboxed.command, LIMIT_S, sandboxed.environ).returncode == 0
    assert (writable / "x").exists()


def test_systemd_gets_the_protections_of_a_release(tmp_path: Path) -> None:
    task = Task(["/x/python", "-m", "x"], {"PATH": "/bin", "SECRET": "s"}, [tmp_path], tmp_path)
    words = sandbox._systemd_command(task, "mms-export-1.service", tmp_path / "root", 60)
    for name in ("sandbox_protections.conf", "sandbox_root.conf"):
        for line in (ROOT / "mms_server" / "host" / name).read_text().splitlines():
            assert line.startswith("#") or not line or f"--property={line}" in words
    assert f"--property=RootDirectory={tmp_path / 'root'}" in words
    assert f"--property=BindReadOnlyPaths={tmp_path}" in words
    assert f"--property=BindPaths={tmp_path}" in words
    assert words[words.index("--") + 1 :] == ["/x/python", "-m", "x"]
    assert [word for word in words if "--setenv" in word] == ["--setenv=PATH", "--setenv=HOME"]


@pytest.mark.parametrize(("mode", "readable"), [(0o604, True), (0o640, False)])
def test_systemd_is_used_only_if_files_are_world_readable(
    tmp_path: Path, mode: int, *, readable: bool
) -> None:
    file = tmp_path / "weights"
    file.write_text("x")
    file.chmod(mode)
    assert sandbox._is_world_readable(file) is readable


def test_a_conversion_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"x")
    words = [str(tmp_path / name) for name in ("bad.onnx", "s.json", "p.params")]
    with pytest.raises(ArchiveError):
        child_process.run(
            child_process.ONNX,
            *words,
            where=tmp_path / "bad.onnx",
            timeout_s=LIMIT_S,
            readable=[tmp_path / "bad.onnx"],
            writable=tmp_path,
        )
