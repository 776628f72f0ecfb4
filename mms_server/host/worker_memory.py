"""A worker's own memory: how much, how fast it grows, and whether the worker has to be replaced.

What the master shares with its workers costs once; what a worker has made its own is what a leak
adds to. The kernel counts that exactly, but not cheaply: so it is asked only now and then, and when
the cheap count has grown.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from mms_server.config.settings import DERIVED
from mms_server.host.cgroup import Cgroup

_RESERVED: Final = 0.1
_LEAST_SHARE: Final = 64 * 1024 * 1024
_MEASURE_EVERY_S: Final = 10.0
_MEASURE_GROWTH: Final = 8 * 1024 * 1024
# Below this factor it is what the model needs, and a successor would need it as well.
_GROWN: Final = 1.25

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_STATM: Final = Path("/proc/self/statm")
_ROLLUP: Final = Path("/proc/self/smaps_rollup")


def limit_of(setting: int, workers: int, shared_bytes: int, cgroup: Cgroup) -> int:
    """Return the most memory of its own that a worker may have, in bytes; 0 for any.

    ``shared_bytes`` is the memory of the master that it shares with its workers.
    """
    if setting != DERIVED:
        return setting
    limit = cgroup.limit_bytes()
    if not limit:
        return 0
    rest = int(limit * (1 - _RESERVED)) - shared_bytes
    return max(rest // max(workers, 1), _LEAST_SHARE)


def resident_bytes(file: Path = _STATM) -> int:
    """Return this process's resident memory, shared pages included; 0 if it is not known."""
    try:
        with file.open("rb", buffering=0) as stream:
            return int(stream.read(128).split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


def trim_heap() -> None:
    """Give the memory that was freed back to the system: the C library keeps most of it.

    What loading, the first forward and trials of batches leave may be as much as a large model.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def private_bytes(file: Path = _ROLLUP) -> int:
    """Return the memory that only this process has; 0 if it is not known."""
    try:
        lines = file.read_text("ascii").splitlines()
    except (OSError, ValueError):
        return 0
    rows = [line.split() for line in lines if line.startswith(("Private_Clean", "Private_Dirty"))]
    return sum(int(row[1]) * 1024 for row in rows if len(row) > 1 and row[1].isdigit())


class WorkerMemory:
    """The memory of one worker; ``reported`` gets its own bytes and their growth in bytes a second."""

    def __init__(
        self,
        limit_bytes: int,
        reported: Callable[[int, float], None],
        clock: Callable[[], float],
        *,
        resident: Callable[[], int] = resident_bytes,
        private: Callable[[], int] = private_bytes,
    ) -> None:
        self._limit = limit_bytes
        self._report = reported
        self._clock = clock
        self._resident = resident
        self._private = private
        self._first: tuple[float, int] | None = None
        self._last = (0.0, 0)

    def exceeded(self) -> bool:
        """Return whether the worker has outgrown its limit; call it after each request."""
        now, resident = self._clock(), self._resident()
        measured_at, measured = self._last
        if self._first and (
            now - measured_at < _MEASURE_EVERY_S and resident - measured < _MEASURE_GROWTH
        ):
            return False
        self._last = (now, resident)
        own = self._private()
        # The first request makes pages its own that every worker needs: growth is what comes after.
        self._first = self._first or (now, own)
        since, at_first = self._first
        seconds = now - since
        self._report(own, (own - at_first) / seconds if seconds > 0 else 0.0)
        return bool(self._limit) and own > self._limit and own > at_first * _GROWN
