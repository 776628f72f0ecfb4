"""The live processes of a release, from record locks of the kernel.

Each process locks one byte, its slot, of the release's file. The kernel drops the locks of a
process when it ends, however it ends. So a locked slot means a live process; a PID file could be
out of date.

Two rules of POSIX record locks shape the code. A lock belongs to the process, so a fork inherits
the descriptor but not the lock. And a process loses its locks on a file as soon as it closes *any*
descriptor of that file. So the descriptors of locked files are never closed, and a process that has
locked a slot must not call :func:`live_slots` for the same file.
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

MAX_LIVE_SLOTS: Final = 20_000
"""The most slots that are listed: a model's code can lock as much of its file as it likes."""

_MAX_SLOT: Final = 2**31
# The user of a release and the user of the control application are different, with one group.
_MODE: Final = 0o660

# struct flock of 64-bit Linux: type, whence, start, length, pid.
_FLOCK: Final = struct.Struct("@hhqqi0q")

_descriptors: dict[Path, int] = {}


def lock_slot(path: Path, slot: int) -> None:
    """Lock ``slot`` of ``path`` until this process ends.

    Raises:
        MMSError: the slot is out of range, or another live process has locked it.
    """
    if not 0 <= slot < _MAX_SLOT:
        raise MMSError(f"slot {slot} of {path} is out of range.", fix="use 0 to 2**31 - 1.")
    if path not in _descriptors:
        _descriptors[path] = open_nofollow(path, os.O_RDWR | os.O_CREAT, _MODE)
    try:
        fcntl.lockf(_descriptors[path], fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)
    except BlockingIOError as error:
        raise MMSError(
            f"slot {slot} of {path} is locked by another live process.",
            fix="stop the other instance of this release.",
        ) from error


def live_slots(path: Path) -> tuple[int, ...]:
    """Return the slots that live processes have locked, in rising order; none without the file.

    At most :data:`MAX_LIVE_SLOTS` are returned.

    Raises:
        OSError: the file exists but cannot be read.
    """
    try:
        descriptor = open_for_reading(path)
    except FileNotFoundError:
        return ()
    try:
        return tuple(sorted(_locked_slots(descriptor)))
    finally:
        os.close(descriptor)


def _locked_slots(descriptor: int) -> set[int]:
    """Split the range at each lock found: the kernel names any lock in a range, not the first."""
    found: set[int] = set()
    ranges = [(0, _MAX_SLOT)]
    while ranges and len(found) < MAX_LIVE_SLOTS:
        start, end = ranges.pop()
        lock = _any_lock(descriptor, start, end)
        if lock is None:
            continue
        first, last = max(lock[0], start), min(lock[1], end)
        found.update(range(first, min(last, first + MAX_LIVE_SLOTS - len(found))))
        ranges += [(a, b) for a, b in ((start, first), (last, end)) if a < b]
    return found


def _any_lock(descriptor: int, start: int, end: int) -> tuple[int, int] | None:
    """Return start and end of a lock between ``start`` and ``end``; None if there is none."""
    request = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, start, end - start, 0)
    answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, request)
    kind, _whence, first, length, _pid = _FLOCK.unpack(answer)
    return None if kind == fcntl.F_UNLCK else (first, first + length)
