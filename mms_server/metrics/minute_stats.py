"""Exact statistics by the minute: count, sum, least and greatest of what was observed.

Histograms have no least and greatest value, which CloudWatch's statistic sets need. So each process
also keeps a ring of the last minutes in a memory-mapped file. A minute's entry bears the number of
its minute, so nobody has to reset anything, and a reader that was away takes up what it missed.
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

RING: Final = 16
"""Minutes that a file holds, the one that is written included."""

SUFFIX: Final = ".minutes"
LENGTH_S: Final = 60.0

_MAGIC: Final = b"MMSMIN1\n"
_HEAD: Final = struct.Struct("<8sI")
_ENTRY: Final = struct.Struct("<5d")
_MAX_BYTES: Final = 16 * 1024 * 1024

Key = tuple[str, str]
"""Model (empty: the host) and name of the metric."""


@dataclass(frozen=True)
class Statistic:
    """What was observed within one minute."""

    count: float
    total: float
    least: float
    greatest: float

    @classmethod
    def of(cls, value: float) -> Statistic:
        """Return the statistic of one observation."""
        return cls(1.0, value, value, value)

    def __add__(self, other: Statistic) -> Statistic:
        return Statistic(
            self.count + other.count,
            self.total + other.total,
            min(self.least, other.least),
            max(self.greatest, other.greatest),
        )

    @property
    def average(self) -> float:
        """Return the mean of the observations."""
        return self.total / self.count


class MinuteStats:
    """The ring of this process; made before the workers are forked, each opens its own file.

    ``name`` tells apart what one process observes for different ends.
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
        self._keys = {key: number for number, key in enumerate(keys)}
        self._clock = clock
        self._owner = 0
        self._map: mmap.mmap | None = None
        self._start = 0

    def add(self, key: Key, value: float) -> None:
        """Observe a value now.

        Raises:
            OSError: the file cannot be made.
        """
        if self._map is None or self._owner != os.getpid():
            self._map = self._opened()
        minute = minute_of(self._clock())
        place = self._start + (self._keys[key] * RING + minute % RING) * _ENTRY.size
        stamp, count, total, least, greatest = _ENTRY.unpack_from(self._map, place)
        if stamp == minute:
            entry = (count + 1.0, total + value, min(least, value), max(greatest, value))
        else:
            entry = (1.0, value, value, value)
        # One assignment: a reader sees the old entry or the new one.
        self._map[place : place + _ENTRY.size] = _ENTRY.pack(minute, *entry)

    def _opened(self) -> mmap.mmap:
        head = _head(list(self._keys))
        self._start = len(head)
        self._owner = os.getpid()
        size = len(head) + len(self._keys) * RING * _ENTRY.size
        path = self._directory / f"{self._name}-{multiprocess.process_name()}{SUFFIX}"
        descriptor = open_nofollow(path, os.O_RDWR | os.O_CREAT, 0o660)
        try:
            if os.pread(descriptor, len(head), 0) != head or os.fstat(descriptor).st_size != size:
                # Of other models: start anew.
                os.ftruncate(descriptor, 0)
                os.ftruncate(descriptor, size)
                os.pwrite(descriptor, head, 0)
            return mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)


def minute_of(now: float) -> int:
    """Return the number of the minute that ``now``, in seconds since the epoch, lies in."""
    return int(now // LENGTH_S)


def end_of(minute: int) -> float:
    """Return the seconds since the epoch at which a minute ends."""
    return (minute + 1) * LENGTH_S


def read(files: Sequence[Path], minute: int) -> dict[Key, Statistic]:
    """Return what all processes observed within a minute; a file that is not sound is left out."""
    found: dict[Key, Statistic] = {}
    for file in files:
        for key, seen in _read(file, minute):
            found[key] = found[key] + seen if key in found else seen
    return found


def _head(keys: Sequence[Key]) -> bytes:
    text = json.dumps(keys).encode()
    text += b" " * (-(len(text) + _HEAD.size) % 8)
    return _HEAD.pack(_MAGIC, len(text)) + text


def _read(file: Path, minute: int) -> Iterator[tuple[Key, Statistic]]:
    try:
        data = read_bounded(file, _MAX_BYTES)
        magic, length = _HEAD.unpack_from(data)
        if magic != _MAGIC:
            return
        start = _HEAD.size + length
        keys = [(str(model), str(name)) for model, name in json.loads(data[_HEAD.size : start])]
        for number, key in enumerate(keys):
            place = start + (number * RING + minute % RING) * _ENTRY.size
            stamp, *rest = _ENTRY.unpack_from(data, place)
            if stamp == minute and rest[0] > 0:
                yield key, Statistic(*rest)
    except (OSError, ValueError, TypeError, struct.error):
        # Removed meanwhile, or written by somebody else.
        return
