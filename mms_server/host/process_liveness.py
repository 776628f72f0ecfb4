"""Which processes of a release are alive, told by the kernel.

Each process locks one byte, its slot, of the release's file. The kernel drops a process's locks
when the process ends, however it ends, so what is locked is alive: no pid file can lie.

Two rules of POSIX record locks shape the code. A lock belongs to the process, so a fork inherits
the descriptor but not the lock. And a process loses its locks on a file as soon as it closes *any*
descriptor of that file: descriptors made here are never closed, and a process that holds a slot
must not ask for the holders of its own file.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path
from typing import Final

from mms_server.core.errors import MMSError
from mms_server.core.files import open_nofollow
from mms_server.core.untrusted_files import open_for_reading

MASTER_SLOT: Final = 0
"""The slot of a release's master; workers take the slots above."""

MOST_HOLDERS: Final = 20_000
"""More are not told of: a model's code can lock as much of its file as it likes."""

_MAX_SLOT: Final = 2**31
# Whoever runs a release and whoever looks at it share a group, and are different users.
_MODE: Final = 0o660

# struct flock of 64-bit Linux: type, whence, start, length, pid.
_FLOCK: Final = struct.Struct("@hhqqi0q")

_held: dict[Path, int] = {}


def hold(path: Path, slot: int) -> None:
    """Lock ``slot`` of ``path`` until this process ends.

    Raises:
        MMSError: the slot is out of range, or a living process has it.
    """
    if not 0 <= slot < _MAX_SLOT:
        raise MMSError(f"slot {slot} of {path} is out of range.", fix="use 0 to 2**31 - 1.")
    if path not in _held:
        _held[path] = open_nofollow(path, os.O_RDWR | os.O_CREAT, _MODE)
    try:
        fcntl.lockf(_held[path], fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)
    except BlockingIOError as error:
        raise MMSError(
            f"slot {slot} of {path} is held by another living process.",
            fix="stop the other instance of this release.",
        ) from error


def holders(path: Path) -> tuple[int, ...]:
    """Return the slots that living processes hold, in rising order; none if there is no file.

    At most :data:`MOST_HOLDERS` are returned.

    Raises:
        OSError: the file is there but cannot be read.
    """
    try:
        descriptor = open_for_reading(path)
    except FileNotFoundError:
        return ()
    try:
        return tuple(sorted(_walk(descriptor)))
    finally:
        os.close(descriptor)


def _walk(descriptor: int) -> set[int]:
    """Ask range by range: the kernel names any one lock in a range, not the first of it."""
    found: set[int] = set()
    ranges = [(0, _MAX_SLOT)]
    while ranges and len(found) < MOST_HOLDERS:
        start, end = ranges.pop()
        lock = _one_lock(descriptor, start, end)
        if lock is None:
            continue
        first, last = max(lock[0], start), min(lock[1], end)
        found.update(range(first, min(last, first + MOST_HOLDERS - len(found))))
        ranges += [(a, b) for a, b in ((start, first), (last, end)) if a < b]
    return found


def _one_lock(descriptor: int, start: int, end: int) -> tuple[int, int] | None:
    question = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, start, end - start, 0)
    answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, question)
    kind, _whence, first, length, _pid = _FLOCK.unpack(answer)
    return None if kind == fcntl.F_UNLCK else (first, first + length)
