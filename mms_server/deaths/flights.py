"""Which request each worker of a release computes, in memory that outlives the worker.

One file, mapped by the master and inherited by its workers: a record per worker's slot. A worker
writes its record before the engine sees a request and clears it after; when it dies in between, the
master finds the record as it was. To write it costs no system call.

The record holds the input itself, if it is not too long: to copy 110 kB takes 2 microseconds, their
digest more than a hundred, and nobody needs it unless the worker dies.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from mms_server.deaths.inputs import Input
from mms_server.deaths.places import open_shared, read_bounded

MAX_SLOTS: Final = 1024
"""Workers beyond this number leave no trace of their requests."""

ID_BYTES: Final = 128
DIGEST_BYTES: Final = 32
INPUT_BYTES: Final = 256 * 1024
"""Of a longer input the record has the digest alone."""

_HEAD: Final = 64
_EPOCH: Final = struct.Struct("=Q")
# Request id and its length, digest, start (seconds since the epoch), resident memory (bytes), and
# the lengths of the parts of the input, all 0 where the digest counts.
_FLIGHT: Final = struct.Struct(f"=B{ID_BYTES}s{DIGEST_BYTES}sdQ3I")
_STRIDE: Final = 256
_FLIES_AT: Final = _FLIGHT.size
_MARK_AT: Final = _FLIGHT.size + 1
_RECORDS_END: Final = _HEAD + MAX_SLOTS * _STRIDE
# Whole pages, of which a slot that nobody has takes none.
_INPUTS_AT: Final = -(-_RECORDS_END // mmap.PAGESIZE) * mmap.PAGESIZE
_SIZE: Final = _INPUTS_AT + MAX_SLOTS * INPUT_BYTES

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
        self._path = path
        self._reserved: set[int] = set()
        descriptor = open_shared(path, os.O_RDWR)
        try:
            if os.fstat(descriptor).st_size < _SIZE:
                os.ftruncate(descriptor, _SIZE)
            self._map = mmap.mmap(descriptor, _SIZE)
        finally:
            os.close(descriptor)

    def clear(self) -> None:
        """Forget the workers of a master that has ended."""
        self._map[_HEAD:_RECORDS_END] = bytes(_RECORDS_END - _HEAD)

    def reserve(self, slot: int) -> None:
        """Take the memory for this slot's inputs; without it, its records have digests.

        To touch a page that the file system has no room for would end the process.

        Raises:
            OSError: there is none.
        """
        if not 0 <= slot < MAX_SLOTS or slot in self._reserved:
            return
        descriptor = open_shared(self._path, os.O_RDWR)
        try:
            os.posix_fallocate(descriptor, _input_at(slot), INPUT_BYTES)
        finally:
            os.close(descriptor)
        self._reserved.add(slot)

    @property
    def epoch(self) -> int:
        """A number that changes when the file of recent deaths does."""
        return int(_EPOCH.unpack_from(self._map, 0)[0])

    def next_epoch(self) -> None:
        """Tell all processes that the file of recent deaths has changed."""
        _EPOCH.pack_into(self._map, 0, (self.epoch + 1) % 2**64)

    def begin(self, slot: int, flight: Flight, given: Input | None = None) -> None:
        """Note what the worker of this slot computes now; ``given`` is what is to be digested."""
        if not 0 <= slot < MAX_SLOTS:
            return
        text = flight.request_id.encode("ascii", "replace")[:ID_BYTES]
        at = _at(slot)
        digest, lengths = flight.digest, (0, 0, 0)
        if given:
            lengths = self._put(slot, given)
            digest = "" if any(lengths) else given.digest
        row = (len(text), text, bytes.fromhex(digest), flight.started, flight.resident_bytes)
        _FLIGHT.pack_into(self._map, at, *row, *lengths)
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
        found = _read(self._map[at : at + _FLIGHT.size], slot, self._piece) if flies else None
        self._map[at + _FLIES_AT] = self._map[at + _MARK_AT] = _GOING
        return Trace(found, ended=mark == _ENDED, stuck=mark == _STUCK)

    def _put(self, slot: int, given: Input) -> tuple[int, int, int]:
        """Copy an input to its slot's place; return the lengths of its parts, 0 for no room."""
        parts = (given.head, given.boundary, given.body)
        lengths = (len(parts[0]), len(parts[1]), len(parts[2]))
        if slot not in self._reserved or sum(lengths) > INPUT_BYTES:
            return (0, 0, 0)
        at = _input_at(slot)
        for part in parts:
            self._map[at : at + len(part)] = part
            at += len(part)
        return lengths

    def _piece(self, start: int, length: int) -> bytes:
        return self._map[start : start + length]

    def _mark(self, slot: int, mark: int) -> None:
        # Who is stuck also ends by its own will: the first word counts.
        if 0 <= slot < MAX_SLOTS and self._map[_at(slot) + _MARK_AT] == _GOING:
            self._map[_at(slot) + _MARK_AT] = mark


def flying(path: Path) -> list[Flight]:
    """Return the requests in such a file, whoever has written it; none if it cannot be read."""
    data = read_bounded(path, _RECORDS_END)
    slots = range(max(min((len(data) - _HEAD) // _STRIDE, MAX_SLOTS), 0))
    flies = [slot for slot in slots if data[_at(slot) + _FLIES_AT]]

    def piece(start: int, length: int) -> bytes:
        return read_bounded(path, length, start)

    return [_read(data[_at(slot) : _at(slot) + _FLIGHT.size], slot, piece) for slot in flies]


def _at(slot: int) -> int:
    return _HEAD + slot * _STRIDE


def _input_at(slot: int) -> int:
    return _INPUTS_AT + slot * INPUT_BYTES


def _read(record: bytes, slot: int, piece: Callable[[int, int], bytes]) -> Flight:
    """Return a record's flight; ``piece`` reads bytes of the file, from a start, so many."""
    length, text, digest, started, resident, *lengths = _FLIGHT.unpack(record)
    flight = Flight(text[:length].decode("ascii", "replace"), digest.hex(), started, resident)
    # The model's code can write here too: no length is believed.
    if not 0 < sum(lengths) <= INPUT_BYTES:
        return flight
    data = piece(_input_at(slot), sum(lengths))
    head, boundary = lengths[0], lengths[0] + lengths[1]
    given = Input(data[:head], data[head:boundary], data[boundary:])
    return replace(flight, digest=given.digest)
