"""Real processes lock slots; the kernel drops their locks when they end."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mms_server.core.errors import MMSError
from mms_server.host.process_liveness import MAX_LIVE_SLOTS, live_slots, lock_slot

_HOLDER = """
import sys, time
from pathlib import Path
from mms_server.host.process_liveness import lock_slot
for slot in sys.argv[2:]:
    lock_slot(Path(sys.argv[1]), int(slot))
print("held", flush=True)
time.sleep(60)
"""

_GREEDY = """
import fcntl, sys, time
stream = open(sys.argv[1], "w")
fcntl.lockf(stream, fcntl.LOCK_EX, int(sys.argv[2]))
print("held", flush=True)
time.sleep(60)
"""

_FORKER = """
import os, sys, time
from pathlib import Path
from mms_server.host.process_liveness import lock_slot
path = Path(sys.argv[1])
lock_slot(path, 0)
child = os.fork()
if child == 0:
    lock_slot(path, 7)
    os.write(1, b"held\\n")
    time.sleep(60)
os.write(1, b"%d\\n" % child)
time.sleep(60)
"""


@contextmanager
def _process(script: str, *arguments: str, lines: int = 1) -> Iterator[tuple[int, list[str]]]:
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process.pid, [process.stdout.readline().strip() for _ in range(lines)]
    finally:
        process.kill()
        process.wait(timeout=10)
        process.stdout.close()


def test_a_missing_file_has_no_live_slots(tmp_path: Path) -> None:
    assert live_slots(tmp_path / "none.lock") == ()


def test_slots_of_living_processes(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with _process(_HOLDER, str(path), "0", "1", "2", "900"), _process(_HOLDER, str(path), "5"):
        assert live_slots(path) == (0, 1, 2, 5, 900)
        assert live_slots(path) == (0, 1, 2, 5, 900), "asking changes nothing"
    assert live_slots(path) == ()


def test_only_user_and_group_can_read_and_lock(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with _process(f"import os; os.umask(0o007)\n{_HOLDER}", str(path), "0"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_a_pipe_in_place_of_the_file_does_not_block(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    os.mkfifo(path)
    assert live_slots(path) == ()


@pytest.mark.parametrize("more", [0, 1])
def test_the_number_of_listed_slots_is_limited(tmp_path: Path, more: int) -> None:
    path = tmp_path / "a.lock"
    with _process(_GREEDY, str(path), str(MAX_LIVE_SLOTS + more)):
        assert live_slots(path) == tuple(range(MAX_LIVE_SLOTS))


def test_kill_frees_the_slot(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with _process(_HOLDER, str(path), "0") as (pid, _lines):
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert live_slots(path) == ()


def test_a_forked_worker_has_its_own_slot(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with _process(_FORKER, str(path), lines=2) as (_pid, lines):
        child = int(next(line for line in lines if line != "held"))
        assert live_slots(path) == (0, 7)
        os.kill(child, signal.SIGKILL)
        _until_gone(path, 7)
        assert live_slots(path) == (0,)


def _until_gone(path: Path, slot: int) -> None:
    for _ in range(1000):
        if slot not in live_slots(path):
            return
        os.sched_yield()
    pytest.fail(f"slot {slot} is still locked")


def test_a_locked_slot_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with _process(_HOLDER, str(path), "3"):
        second = subprocess.run(
            [sys.executable, "-c", _HOLDER, str(path), "3"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert second.returncode == 1
    assert "locked by another live process" in second.stderr


def test_a_slot_out_of_range_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MMSError, match="out of range"):
        lock_slot(tmp_path / "a.lock", -1)
