"""How much is in use of processor, memory and the disk of ``/`` (contract, section 11)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import psutil

from mms_server.metrics.minute_stats import RING, Key, Statistic, minute_of

PERIOD_S: Final = 5.0

_MIB: Final = 1024**2
_GIB: Final = 1024**3
_FIRST_S: Final = 0.1


@dataclass(frozen=True)
class HostMemory:
    """Bytes of memory: all, and what can be had without swapping."""

    total: int
    available: int


def host_memory() -> HostMemory:
    """Return the memory of this host, from ``/proc/meminfo``."""
    memory = psutil.virtual_memory()
    return HostMemory(memory.total, memory.available)


def measure() -> dict[str, float]:
    """Return one sample: percent, MiB and GiB, as the metrics' units have them."""
    memory, disk = psutil.virtual_memory(), psutil.disk_usage("/")
    return {
        "CPUUtilization": psutil.cpu_percent(),
        "MemoryUtilization": memory.percent,
        "MemoryUsed": memory.used / _MIB,
        "MemoryAvailable": memory.available / _MIB,
        "DiskUtilization": disk.percent,
        "DiskUsed": disk.used / _GIB,
        "DiskAvailable": disk.free / _GIB,
    }


def first() -> dict[str, float]:
    """Return the first sample: the processor's use is measured since the one before."""
    psutil.cpu_percent(interval=_FIRST_S)
    return measure()


class HostUsage:
    """The samples of the last minutes."""

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        measure: Callable[[], Mapping[str, float]] = measure,
    ) -> None:
        self._clock = clock
        self._measure = measure
        self._minutes: dict[int, dict[Key, Statistic]] = {}

    def sample(self) -> None:
        """Take a sample, and forget what is too old to be written."""
        number = minute_of(self._clock())
        seen = self._minutes.setdefault(number, {})
        for name, value in self._measure().items():
            key, now = ("", name), Statistic.of(value)
            seen[key] = seen[key] + now if key in seen else now
        for old in [each for each in self._minutes if each <= number - RING]:
            del self._minutes[old]

    def minute(self, number: int) -> dict[Key, Statistic]:
        """Return the samples of a minute."""
        return self._minutes.get(number, {})
