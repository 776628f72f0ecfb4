"""How many requests each worker of a release has in hand, in memory that all of them see.

A worker that gets free may take several requests that wait. It must leave those that an idle worker
could start, and must not take all that wait while another is about to get free. So it looks here:
one byte per worker's slot, written by that worker alone.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Final

from mms_server.core.untrusted_files import open_group_file
from mms_server.crashes.in_flight_log import MAX_SLOTS

MOST: Final = 254
"""Requests beyond this number look like so many."""

_LOOKED_AT: Final = 32
_ABSENT: Final = 0
_IDLE: Final = 1


class WorkerLoad:
    """The mapped file; a process of a release works under one slot."""

    def __init__(self, path: Path, slots: int) -> None:
        """Map the file; ``slots`` is how many workers the release has.

        Raises:
            OSError: the file cannot be written.
        """
        descriptor = open_group_file(path, os.O_RDWR)
        try:
            # Now, or a full file system would end a process that writes.
            os.posix_fallocate(descriptor, 0, MAX_SLOTS)
            self._map = mmap.mmap(descriptor, MAX_SLOTS)
        finally:
            os.close(descriptor)
        # A master may be told to have some more.
        self._slots = min(max(2 * slots, _LOOKED_AT), MAX_SLOTS)
        self._slot = -1
        self.own = 0

    def begin(self, slot: int) -> None:
        """Count under this slot; the worker is idle."""
        self._slot = slot
        self.hold(0)

    def hold(self, count: int) -> None:
        """Say how many requests this worker has in hand."""
        self.own = count
        self._write(_IDLE + min(count, MOST))

    def leave(self) -> None:
        """Say that this worker takes no more requests."""
        self._write(_ABSENT)

    def clear(self) -> None:
        """Forget the workers of a master that has ended."""
        self._map[:] = bytes(MAX_SLOTS)

    def forget(self, slot: int) -> None:
        """Take note of the end of a slot's worker; for the master."""
        if 0 <= slot < MAX_SLOTS:
            self._map[slot] = _ABSENT

    def most(self, wanted: int) -> int:
        """Return how many requests this worker may have in hand now, ``wanted`` at most.

        One, while another worker is idle: what waits is for that one. Else one more than the
        busiest other has: equal workers then share what waits, also when one takes before the
        other.
        """
        rows = self._map[: self._slots]
        others = [row for slot, row in enumerate(rows) if slot != self._slot and row != _ABSENT]
        if not others:
            return wanted
        if _IDLE in others:
            return 1
        return min(wanted, max(others) - _IDLE + 1)

    def _write(self, value: int) -> None:
        if 0 <= self._slot < MAX_SLOTS:
            self._map[self._slot] = value


def any_idle(rows: bytes) -> bool:
    """Return whether a worker is idle, by the bytes of the file, or none is known."""
    return _IDLE in rows or not any(rows)
