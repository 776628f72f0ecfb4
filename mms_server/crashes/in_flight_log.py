"""Which requests each worker of a release computes, in memory that outlives the worker.

One file, mapped by the master and inherited by its workers: a record per worker's slot, and more
of them for a batch. A worker writes its records before the engine sees the requests and clears them
after; when it dies in between, the master finds them as they were. To write costs no system call.

A slot holds the inputs themselves, as far as they have room: to copy 110 kB takes 2 microseconds,
their digest more than a hundred, and nobody needs it unless the worker dies.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from mms_server.config.model_settings import MAX_BATCH
from mms_server.core.untrusted_files import open_group_file, read_bounded
from mms_server.crashes.input_digest import Input

MAX_SLOTS: Final = 1024
"""Workers beyond this number leave no trace of their requests."""

ID_BYTES: Final = 128
DIGEST_BYTES: Final = 32
INPUT_BYTES: Final = 1024 * 1024
"""Room for the inputs of a slot; of one that does not fit the record has the digest alone."""

_HEAD: Final = 64
_EPOCH: Final = struct.Struct("=Q")
# Request id and its length, digest, start (seconds since the epoch), resident memory (bytes), where
# the input begins, and the lengths of its parts, all 0 where the digest counts.
_FLIGHT: Final = struct.Struct(f"=B{ID_BYTES}s{DIGEST_BYTES}sdQ4I")
_STRIDE: Final = 256
# How many requests are in flight; those but the first have their records elsewhere.
_FLIES_AT: Final = _FLIGHT.size
_MARK_AT: Final = _FLIGHT.size + 1
_RECORDS_END: Final = _HEAD + MAX_SLOTS * _STRIDE
# Whole pages, of which a slot that nobody has takes none.
_INPUTS_AT: Final = -(-_RECORDS_END // mmap.PAGESIZE) * mmap.PAGESIZE
_MATES_AT: Final = _INPUTS_AT + MAX_SLOTS * INPUT_BYTES
_MATES_BYTES: Final = (MAX_BATCH - 1) * _STRIDE
_SIZE: Final = _MATES_AT + MAX_SLOTS * _MATES_BYTES

_GOING: Final = 0
_ENDED: Final = 1
_STUCK: Final = 2

_Piece = Callable[[int, int], bytes]


@dataclass(frozen=True)
class InFlightRequest:
    """A request that the engine computes: ``started`` is in seconds since the epoch.

    ``digest`` is of its input; ``resident_bytes`` is the worker's memory when it began.
    """

    request_id: str
    digest: str
    started: float
    resident_bytes: int


@dataclass(frozen=True)
class WorkerTrace:
    """What a worker has left: the requests it computed, and what it said of its end."""

    in_flight: tuple[InFlightRequest, ...] = ()
    ended: bool = False
    stuck: bool = False


class InFlightLog:
    """The mapped file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reserved: set[int] = set()
        descriptor = open_group_file(path, os.O_RDWR)
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
        """Take the memory for this slot's inputs; without it, one record has a digest.

        To touch a page that the file system has no room for would end the process.

        Raises:
            OSError: there is none.
        """
        if not 0 <= slot < MAX_SLOTS or slot in self._reserved:
            return
        descriptor = open_group_file(self._path, os.O_RDWR)
        try:
            os.posix_fallocate(descriptor, _input_at(slot), INPUT_BYTES)
            os.posix_fallocate(descriptor, _mate_at(slot, 1), _MATES_BYTES)
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

    def begin(self, slot: int, *computed: tuple[InFlightRequest, Input | None]) -> None:
        """Note what the worker of this slot computes now: flights, and what is to be digested."""
        if not 0 <= slot < MAX_SLOTS:
            return
        kept = computed[: MAX_BATCH if slot in self._reserved else 1]
        filled = 0
        for number, (flight, given) in enumerate(kept):
            digest, start, lengths = flight.digest, filled, (0, 0, 0)
            if given:
                lengths = self._put(slot, filled, given)
                filled += sum(lengths)
                digest = "" if any(lengths) else given.digest
            text = flight.request_id.encode("ascii", "replace")[:ID_BYTES]
            row = (len(text), text, bytes.fromhex(digest), flight.started, flight.resident_bytes)
            _FLIGHT.pack_into(self._map, _record_at(slot, number), *row, start, *lengths)
        # Last: a record that is not whole does not count.
        self._map[_at(slot) + _FLIES_AT] = len(kept)

    def end(self, slot: int) -> None:
        """Note that the worker of this slot has computed it."""
        if 0 <= slot < MAX_SLOTS:
            self._map[_at(slot) + _FLIES_AT] = 0

    def mark_ended(self, slot: int) -> None:
        """Note that the worker ends by its own will."""
        self._mark(slot, _ENDED)

    def mark_stuck(self, slot: int) -> None:
        """Note that the worker ends because its engine is stuck."""
        self._mark(slot, _STUCK)

    def take(self, slot: int) -> WorkerTrace:
        """Return what the last worker of this slot has left, and clear it for the next."""
        if not 0 <= slot < MAX_SLOTS:
            return WorkerTrace()
        at = _at(slot)
        mark = self._map[at + _MARK_AT]
        found = tuple(_flights(slot, self._map[at : at + _STRIDE], self._piece))
        self._map[at + _FLIES_AT] = self._map[at + _MARK_AT] = _GOING
        return WorkerTrace(found, ended=mark == _ENDED, stuck=mark == _STUCK)

    def _put(self, slot: int, filled: int, given: Input) -> tuple[int, int, int]:
        """Copy an input to its slot's place; return the lengths of its parts, 0 for no room."""
        parts = (given.head, given.boundary, given.body)
        lengths = (len(parts[0]), len(parts[1]), len(parts[2]))
        if slot not in self._reserved or filled + sum(lengths) > INPUT_BYTES:
            return (0, 0, 0)
        at = _input_at(slot) + filled
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


def read_in_flight(path: Path) -> list[InFlightRequest]:
    """Return the requests in such a file, whoever has written it; none if it cannot be read."""
    data = read_bounded(path, _RECORDS_END)
    slots = range(max(min((len(data) - _HEAD) // _STRIDE, MAX_SLOTS), 0))

    def piece(start: int, length: int) -> bytes:
        return read_bounded(path, length, start)

    heads = ((slot, data[_at(slot) : _at(slot) + _STRIDE]) for slot in slots)
    return [row for slot, head in heads for row in _flights(slot, head, piece)]


def _at(slot: int) -> int:
    return _HEAD + slot * _STRIDE


def _input_at(slot: int) -> int:
    return _INPUTS_AT + slot * INPUT_BYTES


def _mate_at(slot: int, number: int) -> int:
    return _MATES_AT + slot * _MATES_BYTES + (number - 1) * _STRIDE


def _record_at(slot: int, number: int) -> int:
    return _mate_at(slot, number) if number else _at(slot)


def _flights(slot: int, head: bytes, piece: _Piece) -> Iterator[InFlightRequest]:
    """Yield the flights of a slot, whose own record is ``head``."""
    # The model's code can write here too: no number is believed.
    for number in range(min(head[_FLIES_AT], MAX_BATCH)):
        record = piece(_mate_at(slot, number), _FLIGHT.size) if number else head[: _FLIGHT.size]
        if len(record) < _FLIGHT.size:
            return
        yield _read(record, slot, piece)


def _read(record: bytes, slot: int, piece: _Piece) -> InFlightRequest:
    """Return a record's flight; ``piece`` reads bytes of the file, from a start, so many."""
    length, text, digest, started, resident, start, *lengths = _FLIGHT.unpack(record)
    flight = InFlightRequest(
        text[:length].decode("ascii", "replace"), digest.hex(), started, resident
    )
    if not (sum(lengths) and start + sum(lengths) <= INPUT_BYTES):
        return flight
    data = piece(_input_at(slot) + start, sum(lengths))
    head, boundary = lengths[0], lengths[0] + lengths[1]
    given = Input(data[:head], data[head:boundary], data[boundary:])
    return replace(flight, digest=given.digest)
