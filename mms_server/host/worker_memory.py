"""A worker's private memory: its size, its growth, and whether the worker has to be replaced.

Memory that the master shares with its workers counts once. A leak adds to the private memory of a
worker. The kernel counts private memory exactly, but not cheaply. So it is read at most every 10 s,
or when the resident memory, which is cheap to read, has grown by 8 MiB.
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
_MIN_LIMIT_BYTES: Final = 64 * 1024 * 1024
_MEASURE_EVERY_S: Final = 10.0
_MEASURE_GROWTH_BYTES: Final = 8 * 1024 * 1024
# Below this factor the memory is what the model needs, and a new worker would need it as well.
_MIN_GROWTH_FACTOR: Final = 1.25

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_STATM: Final = Path("/proc/self/statm")
_ROLLUP: Final = Path("/proc/self/smaps_rollup")


def limit_of(setting: int, workers: int, shared_bytes: int, cgroup: Cgroup) -> int:
    """Return the limit of a worker's private memory, in bytes; 0 for no limit.

    Without a setting it is an equal share of the control group's limit, less a reserve of 10 % and
    ``shared_bytes``, the memory that the master shares with its workers; at least 64 MiB.
    """
    if setting != DERIVED:
        return setting
    limit = cgroup.limit_bytes()
    if not limit:
        return 0
    available = int(limit * (1 - _RESERVED)) - shared_bytes
    return max(available // max(workers, 1), _MIN_LIMIT_BYTES)


def resident_bytes(file: Path = _STATM) -> int:
    """Return this process's resident memory with shared pages, in bytes; 0 if it is not known."""
    try:
        with file.open("rb", buffering=0) as stream:
            return int(stream.read(128).split()[1]) * _PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return 0


def trim_heap() -> None:
    """Return freed memory to the kernel: the C library keeps most of it.

    After loading, the first forward and the batch benchmark, it may be as much as a large model.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def private_bytes(file: Path = _ROLLUP) -> int:
    """Return the memory that this process shares with no other, in bytes; 0 if it is not known."""
    try:
        lines = file.read_text("ascii").splitlines()
    except (OSError, ValueError):
        return 0
    fields = [line.split() for line in lines if line.startswith(("Private_Clean", "Private_Dirty"))]
    return sum(int(field[1]) * 1024 for field in fields if len(field) > 1 and field[1].isdigit())


class WorkerMemory:
    """The memory of one worker; ``report`` gets its private bytes and their growth per second."""

    def __init__(
        self,
        limit_bytes: int,
        report: Callable[[int, float], None],
        clock: Callable[[], float],
        *,
        resident: Callable[[], int] = resident_bytes,
        private: Callable[[], int] = private_bytes,
    ) -> None:
        self._limit = limit_bytes
        self._report = report
        self._clock = clock
        self._resident = resident
        self._private = private
        self._first: tuple[float, int] | None = None
        self._last = (0.0, 0)

    def exceeded(self) -> bool:
        """Return whether the worker has outgrown its limit; call it after each request."""
        now, resident = self._clock(), self._resident()
        last_time, last_resident = self._last
        if self._first and (
            now - last_time < _MEASURE_EVERY_S and resident - last_resident < _MEASURE_GROWTH_BYTES
        ):
            return False
        self._last = (now, resident)
        private = self._private()
        # The first request makes pages private in every worker: growth counts from there.
        self._first = self._first or (now, private)
        first_time, first_private = self._first
        seconds = now - first_time
        self._report(private, (private - first_private) / seconds if seconds > 0 else 0.0)
        outgrown = private > self._limit and private > first_private * _MIN_GROWTH_FACTOR
        return bool(self._limit) and outgrown
