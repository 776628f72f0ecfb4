"""The host's use of CPU, memory and the disk of ``/`` (compatibility.md, 11)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import psutil

from mms_server.metrics.minute_stats import RING_MINUTES, Key, Statistic, minute_of

PERIOD_S: Final = 5.0

_MIB: Final = 1024**2
_GIB: Final = 1024**3
_FIRST_INTERVAL_S: Final = 0.1


@dataclass(frozen=True)
class HostMemory:
    """The bytes of memory: all, and those available without swapping."""

    total: int
    available: int


def host_memory() -> HostMemory:
    """Return the memory of this host, from ``/proc/meminfo``."""
    memory = psutil.virtual_memory()
    return HostMemory(memory.total, memory.available)


def measure() -> dict[str, float]:
    """Return one sample by metric, in the metrics' units: percent, MiB and GiB."""
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


def start_cpu_measurement(sleep: Callable[[float], object] = time.sleep) -> None:
    """Measure the CPU for 0.1 s: the first sample needs an interval before it."""
    psutil.cpu_percent()
    sleep(_FIRST_INTERVAL_S)


class HostUsage:
    """The samples of the host's use in the last minutes."""

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        measure: Callable[[], Mapping[str, float]] = measure,
    ) -> None:
        self._clock = clock
        self._measure = measure
        self._minutes: dict[int, dict[Key, Statistic]] = {}

    def sample(self) -> None:
        """Take a sample, and drop the minutes that are too old to be written."""
        current = minute_of(self._clock())
        statistics = self._minutes.setdefault(current, {})
        for name, value in self._measure().items():
            key, statistic = ("", name), Statistic.of(value)
            statistics[key] = statistics[key] + statistic if key in statistics else statistic
        # A clock that was set back leaves minutes of the future, too.
        for far in [number for number in self._minutes if abs(number - current) >= RING_MINUTES]:
            del self._minutes[far]

    def minute(self, number: int) -> dict[Key, Statistic]:
        """Return the statistics of the samples of a minute."""
        return self._minutes.get(number, {})
