"""A process is known by its pid and its start time: a recycled pid is another process."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from testhosts.errors import TestHostError
from testhosts.process import Identity, spawn

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(SLEEP)
    yield child
    child.kill()
    child.wait(10)


def fake_proc(tmp_path: Path, *, name: str = "uml", state: str = "S", started: int = 7000) -> Path:
    before = " ".join(["1"] * 18)
    (tmp_path / "42").mkdir(exist_ok=True)
    (tmp_path / "42/stat").write_text(f"42 ({name}) {state} {before} {started} 9 9 9\n")
    boot_id = tmp_path / "sys/kernel/random/boot_id"
    boot_id.parent.mkdir(parents=True, exist_ok=True)
    boot_id.write_text("b007\n")
    return tmp_path


def test_reads_pid_and_start_time(tmp_path: Path) -> None:
    assert Identity.of(42, fake_proc(tmp_path)) == Identity(42, 7000, "b007")


def test_a_name_with_parentheses_does_not_confuse(tmp_path: Path) -> None:
    proc = fake_proc(tmp_path, name="a) Z (b")
    assert Identity.of(42, proc) == Identity(42, 7000, "b007")


@pytest.mark.parametrize("state", ["Z", "X"])
def test_the_dead_are_not_alive(tmp_path: Path, state: str) -> None:
    assert Identity.of(42, fake_proc(tmp_path, state=state)) is None


def test_a_recycled_pid_is_not_alive(tmp_path: Path) -> None:
    before = Identity.of(42, fake_proc(tmp_path))
    assert before is not None
    assert before.alive(tmp_path)
    assert not before.alive(fake_proc(tmp_path, started=7001))


def test_another_boot_is_another_process(tmp_path: Path) -> None:
    assert not Identity(42, 7000, "earlier").alive(fake_proc(tmp_path))


def test_ends_a_process(sleeper: subprocess.Popen[bytes]) -> None:
    identity = Identity.of(sleeper.pid)
    assert identity is not None
    identity.end(timeout_s=10)
    assert not identity.alive()
    identity.end(timeout_s=10)  # nothing to do


def test_never_ends_a_process_that_started_at_another_time(
    sleeper: subprocess.Popen[bytes],
) -> None:
    identity = Identity.of(sleeper.pid)
    assert identity is not None
    dataclasses.replace(identity, start_ticks=identity.start_ticks - 1).end(timeout_s=1)
    time.sleep(0.1)
    assert sleeper.poll() is None


def test_says_when_a_process_does_not_end(sleeper: subprocess.Popen[bytes]) -> None:
    identity = Identity.of(sleeper.pid)
    assert identity is not None
    with pytest.raises(TestHostError, match=f"process {sleeper.pid} did not end within"):
        identity.end(0, timeout_s=0.2)


def test_is_kept_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "supervisor.json"
    assert Identity.load(file) is None
    Identity(42, 7000, "b007").save(file)
    assert Identity.load(file) == Identity(42, 7000, "b007")
    file.write_text("{")
    assert Identity.load(file) is None


def test_spawned_processes_are_detached_and_logged(tmp_path: Path) -> None:
    log = tmp_path / "log"
    identity = spawn([*SLEEP[:2], f"print('hi', flush=True); {SLEEP[2]}"], log)
    try:
        assert os.getsid(identity.pid) == identity.pid
        deadline = time.monotonic() + 10
        while not log.read_text() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert log.read_text() == "hi\n"
    finally:
        identity.end(timeout_s=10)
        os.waitpid(identity.pid, 0)
