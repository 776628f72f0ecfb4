"""Exact statistics per minute: count, sum, minimum and maximum of the observed values.

CloudWatch's statistic sets need a minimum and a maximum, which histograms do not have. So each
process also keeps a ring buffer of the last minutes in a memory-mapped file. Each entry carries the
number of its minute. So no process has to reset entries, and a reader that was down for some
minutes can still read them.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mms_server.core.files import open_nofollow
from mms_server.core.untrusted_files import read_bounded
from mms_server.metrics import multiprocess

RING_MINUTES: Final = 16
"""The minutes that a file holds, including the current one."""

SUFFIX: Final = ".minutes"
MINUTE_S: Final = 60.0

_MAGIC: Final = b"MMSMIN1\n"
_HEADER: Final = struct.Struct("<8sI")
_ENTRY: Final = struct.Struct("<5d")
_MAX_BYTES: Final = 16 * 1024 * 1024

Key = tuple[str, str]
"""The endpoint name of the model (empty for the host), and the name of the metric."""


@dataclass(frozen=True)
class Statistic:
    """Count, sum, minimum and maximum of the values observed within one minute."""

    count: float
    total: float
    minimum: float
    maximum: float

    @classmethod
    def of(cls, value: float) -> Statistic:
        """Return the statistic of one observation."""
        return cls(1.0, value, value, value)

    def __add__(self, other: Statistic) -> Statistic:
        return Statistic(
            self.count + other.count,
            self.total + other.total,
            min(self.minimum, other.minimum),
            max(self.maximum, other.maximum),
        )

    @property
    def average(self) -> float:
        """Return the mean of the observations."""
        return self.total / self.count


class MinuteStats:
    """The ring buffer of this process, made before the fork: each worker opens a file of its own.

    ``name`` begins the file's name, so that one process can have several ring buffers.
    """

    def __init__(
        self,
        directory: Path,
        name: str,
        keys: Sequence[Key],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._directory = directory
        self._name = name
        self._indexes = {key: index for index, key in enumerate(keys)}
        self._clock = clock
        self._owner_pid = 0
        self._map: mmap.mmap | None = None
        self._start = 0

    def add(self, key: Key, value: float) -> None:
        """Add a value that is observed now.

        Raises:
            OSError: the file cannot be made.
        """
        if self._map is None or self._owner_pid != os.getpid():
            self._map = self._open_map()
        minute = minute_of(self._clock())
        offset = _offset(self._start, self._indexes[key], minute)
        stamp, count, total, minimum, maximum = _ENTRY.unpack_from(self._map, offset)
        if stamp == minute:
            entry = (count + 1.0, total + value, min(minimum, value), max(maximum, value))
        else:
            entry = (1.0, value, value, value)
        # One assignment: a reader sees the old entry or the new one.
        self._map[offset : offset + _ENTRY.size] = _ENTRY.pack(minute, *entry)

    def _open_map(self) -> mmap.mmap:
        header = _header(list(self._indexes))
        self._start = len(header)
        self._owner_pid = os.getpid()
        size = _offset(len(header), len(self._indexes), 0)
        path = self._directory / f"{self._name}-{multiprocess.process_name()}{SUFFIX}"
        descriptor = open_nofollow(path, os.O_RDWR | os.O_CREAT, 0o660)
        try:
            found = os.pread(descriptor, len(header), 0)
            if found != header or os.fstat(descriptor).st_size != size:
                # The file is new, or its header names other metrics: empty it.
                os.ftruncate(descriptor, 0)
                os.ftruncate(descriptor, size)
                os.pwrite(descriptor, header, 0)
            return mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)


def minute_of(now: float) -> int:
    """Return the number of the minute that contains ``now``, in seconds since the epoch."""
    return int(now // MINUTE_S)


def end_of(minute: int) -> float:
    """Return the seconds since the epoch at which a minute ends."""
    return (minute + 1) * MINUTE_S


def read(files: Sequence[Path], minute: int) -> dict[Key, Statistic]:
    """Return the statistics of one minute over all processes; an invalid file is skipped."""
    found: dict[Key, Statistic] = {}
    for file in files:
        for key, statistic in _read(file, minute):
            found[key] = found[key] + statistic if key in found else statistic
    return found


def _offset(start: int, index: int, minute: int) -> int:
    """Return the offset of the entry for a minute of the key number ``index``."""
    return start + (index * RING_MINUTES + minute % RING_MINUTES) * _ENTRY.size


def _header(keys: Sequence[Key]) -> bytes:
    text = json.dumps(keys).encode()
    # The entries are aligned to 8 bytes, the size of a double.
    text += b" " * (-(len(text) + _HEADER.size) % 8)
    return _HEADER.pack(_MAGIC, len(text)) + text


def _read(file: Path, minute: int) -> Iterator[tuple[Key, Statistic]]:
    try:
        data = read_bounded(file, _MAX_BYTES)
        magic, length = _HEADER.unpack_from(data)
        if magic != _MAGIC:
            return
        start = _HEADER.size + length
        keys = [(str(model), str(name)) for model, name in json.loads(data[_HEADER.size : start])]
        for index, key in enumerate(keys):
            stamp, *values = _ENTRY.unpack_from(data, _offset(start, index, minute))
            if stamp == minute and values[0] > 0:
                yield key, Statistic(*values)
    except (OSError, ValueError, TypeError, struct.error):
        # The file was removed in between, or the code of a model wrote it.
        return
