"""Real processes hold slots, and the kernel forgets them when they die."""

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
from mms_server.host.process_liveness import MOST_HOLDERS, hold, holders

_HOLDER = """
import sys, time
from pathlib import Path
from mms_server.host.process_liveness import hold
for slot in sys.argv[2:]:
    hold(Path(sys.argv[1]), int(slot))
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
from mms_server.host.process_liveness import hold
path = Path(sys.argv[1])
hold(path, 0)
child = os.fork()
if child == 0:
    hold(path, 7)
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


def test_no_file_has_no_holders(tmp_path: Path) -> None:
    assert holders(tmp_path / "none.lock") == ()


def test_slots_of_living_processes(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with _process(_HOLDER, str(path), "0", "1", "2", "900"), _process(_HOLDER, str(path), "5"):
        assert holders(path) == (0, 1, 2, 5, 900)
        assert holders(path) == (0, 1, 2, 5, 900), "asking changes nothing"
    assert holders(path) == ()


def test_the_group_may_look_and_hold_and_nobody_else(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with _process(f"import os; os.umask(0o007)\n{_HOLDER}", str(path), "0"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_a_pipe_in_its_place_keeps_nobody_waiting(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    os.mkfifo(path)
    assert holders(path) == ()


@pytest.mark.parametrize("more", [0, 1])
def test_only_so_many_holders_are_told_of(tmp_path: Path, more: int) -> None:
    path = tmp_path / "a.lock"
    with _process(_GREEDY, str(path), str(MOST_HOLDERS + more)):
        assert holders(path) == tuple(range(MOST_HOLDERS))


def test_kill_frees_the_slot(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with _process(_HOLDER, str(path), "0") as (pid, _lines):
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert holders(path) == ()


def test_a_forked_worker_has_its_own_slot(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with _process(_FORKER, str(path), lines=2) as (_pid, lines):
        child = int(next(line for line in lines if line != "held"))
        assert holders(path) == (0, 7)
        os.kill(child, signal.SIGKILL)
        _until_gone(path, 7)
        assert holders(path) == (0,)


def _until_gone(path: Path, slot: int) -> None:
    for _ in range(1000):
        if slot not in holders(path):
            return
        os.sched_yield()
    pytest.fail(f"slot {slot} is still held")


def test_a_held_slot_is_refused(tmp_path: Path) -> None:
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
    assert "held by another living process" in second.stderr


def test_a_slot_out_of_range_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MMSError, match="out of range"):
        hold(tmp_path / "a.lock", -1)
