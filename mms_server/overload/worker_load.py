"""How many requests each worker of a release has in flight, in memory that all workers share.

A worker that becomes free may take several waiting requests. It must leave those that an idle
worker could start, and must not take all while another worker is about to become free. So it reads
the counts of the others here: one byte per worker's slot, which only that worker writes.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Final

from mms_server.core.untrusted_files import open_group_file
from mms_server.crashes.in_flight_log import MAX_SLOTS

MOST: Final = 254
"""Largest number of requests that a byte can tell; more look like this number."""

_LOOKED_AT: Final = 32
_ABSENT: Final = 0
_IDLE: Final = 1


class WorkerLoad:
    """The mapped file; each process of a release has one slot."""

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
        # A signal can make a master start some more workers.
        self._slots = min(max(2 * slots, _LOOKED_AT), MAX_SLOTS)
        self._slot = -1
        self.own = 0

    def begin(self, slot: int) -> None:
        """Count in this slot from now on; the worker is idle."""
        self._slot = slot
        self.hold(0)

    def hold(self, count: int) -> None:
        """Write how many requests this worker has in flight."""
        self.own = count
        self._write(_IDLE + min(count, MOST))

    def leave(self) -> None:
        """Write that this worker takes no more requests."""
        self._write(_ABSENT)

    def clear(self) -> None:
        """Forget the workers of a master that has ended."""
        self._map[:] = bytes(MAX_SLOTS)

    def forget(self, slot: int) -> None:
        """Clear the slot of a worker that ended; for the master."""
        if 0 <= slot < MAX_SLOTS:
            self._map[slot] = _ABSENT

    def most(self, wanted: int) -> int:
        """Return how many requests this worker may have in flight now, ``wanted`` at most.

        It is one while another worker is idle: waiting requests are for that one. Else it is one
        more than the busiest other worker has. So workers of equal speed share the waiting
        requests, whichever takes first.
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
    """Return whether a worker is idle or no worker is known, by the bytes of the file."""
    return _IDLE in rows or not any(rows)
