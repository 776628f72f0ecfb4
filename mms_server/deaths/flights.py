"""Which request each worker of a release computes, in memory that outlives the worker.

One file, mapped by the master and inherited by its workers: a record per worker's slot. A worker
writes its record before the engine sees a request and clears it after; when it dies in between, the
master finds the record as it was. To write it costs no system call.
"""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mms_server.deaths.places import open_shared

MAX_SLOTS: Final = 1024
"""Workers beyond this number leave no trace of their requests."""

ID_BYTES: Final = 128
DIGEST_BYTES: Final = 32

_HEAD: Final = 64
_EPOCH: Final = struct.Struct("=Q")
# Request id and its length, digest, start (seconds since the epoch), resident memory (bytes).
_FLIGHT: Final = struct.Struct(f"=B{ID_BYTES}s{DIGEST_BYTES}sdQ")
_STRIDE: Final = 256
_FLIES_AT: Final = _FLIGHT.size
_MARK_AT: Final = _FLIGHT.size + 1
_SIZE: Final = _HEAD + MAX_SLOTS * _STRIDE

_GOING: Final = 0
_ENDED: Final = 1
_STUCK: Final = 2


@dataclass(frozen=True)
class Flight:
    """A request that the engine computes: ``started`` is in seconds since the epoch.

    ``digest`` is of its input; ``resident_bytes`` is the worker's memory when it began.
    """

    request_id: str
    digest: str
    started: float
    resident_bytes: int


@dataclass(frozen=True)
class Trace:
    """What a worker has left: the request it computed, and what it said of its end."""

    flight: Flight | None
    ended: bool = False
    stuck: bool = False


class Flights:
    """The mapped file."""

    def __init__(self, path: Path) -> None:
        descriptor = open_shared(path, os.O_RDWR)
        try:
            if os.fstat(descriptor).st_size < _SIZE:
                os.ftruncate(descriptor, _SIZE)
            self._map = mmap.mmap(descriptor, _SIZE)
        finally:
            os.close(descriptor)

    def clear(self) -> None:
        """Forget the workers of a master that has ended."""
        self._map[_HEAD:_SIZE] = bytes(_SIZE - _HEAD)

    @property
    def epoch(self) -> int:
        """A number that changes when the file of recent deaths does."""
        return int(_EPOCH.unpack_from(self._map, 0)[0])

    def next_epoch(self) -> None:
        """Tell all processes that the file of recent deaths has changed."""
        _EPOCH.pack_into(self._map, 0, (self.epoch + 1) % 2**64)

    def begin(self, slot: int, flight: Flight) -> None:
        """Note what the worker of this slot computes now."""
        if not 0 <= slot < MAX_SLOTS:
            return
        text = flight.request_id.encode("ascii", "replace")[:ID_BYTES]
        at = _at(slot)
        row = (len(text), text, bytes.fromhex(flight.digest), flight.started, flight.resident_bytes)
        _FLIGHT.pack_into(self._map, at, *row)
        # Last: a record that is not whole does not count.
        self._map[at + _FLIES_AT] = 1

    def end(self, slot: int) -> None:
        """Note that the worker of this slot has computed it."""
        if 0 <= slot < MAX_SLOTS:
            self._map[_at(slot) + _FLIES_AT] = 0

    def say_ended(self, slot: int) -> None:
        """Note that the worker ends by its own will."""
        self._mark(slot, _ENDED)

    def say_stuck(self, slot: int) -> None:
        """Note that the worker ends because its engine is stuck."""
        self._mark(slot, _STUCK)

    def take(self, slot: int) -> Trace:
        """Return what the last worker of this slot has left, and clear it for the next."""
        if not 0 <= slot < MAX_SLOTS:
            return Trace(None)
        at = _at(slot)
        flies, mark = self._map[at + _FLIES_AT], self._map[at + _MARK_AT]
        found = _read(self._map[at : at + _FLIGHT.size]) if flies else None
        self._map[at + _FLIES_AT] = self._map[at + _MARK_AT] = _GOING
        return Trace(found, ended=mark == _ENDED, stuck=mark == _STUCK)

    def _mark(self, slot: int, mark: int) -> None:
        # Who is stuck also ends by its own will: the first word counts.
        if 0 <= slot < MAX_SLOTS and self._map[_at(slot) + _MARK_AT] == _GOING:
            self._map[_at(slot) + _MARK_AT] = mark


def flying(data: bytes) -> list[Flight]:
    """Return the requests in the content of such a file, whoever has written it."""
    slots = range(max(min((len(data) - _HEAD) // _STRIDE, MAX_SLOTS), 0))
    places = [_at(slot) for slot in slots if data[_at(slot) + _FLIES_AT]]
    return [_read(data[at : at + _FLIGHT.size]) for at in places]


FILE_BYTES: Final = _SIZE


def _at(slot: int) -> int:
    return _HEAD + slot * _STRIDE


def _read(record: bytes) -> Flight:
    length, text, digest, started, resident = _FLIGHT.unpack(record)
    return Flight(text[:length].decode("ascii", "replace"), digest.hex(), started, resident)
