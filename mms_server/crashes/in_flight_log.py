"""A log of the requests that each worker of a release computes, in memory that outlives workers.

It is one file, mapped by the master and inherited by its workers. Each worker's slot has a record,
and further ones for a batch. A worker writes its records before the engine computes the requests
and clears them afterwards. If it crashes in between, the master reads the records. A write needs no
system call.

A slot also holds the inputs themselves, if they fit: copying 110 kB takes 2 microseconds, a digest
more than 100, and a digest is only needed if the worker crashes.
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
"""Slots from this number on are not logged."""

ID_BYTES: Final = 128
DIGEST_BYTES: Final = 32
INPUT_BYTES: Final = 1024 * 1024
"""Size of a slot's memory for inputs; of an input that does not fit, only the digest is logged."""

_HEAD: Final = 64
_EPOCH: Final = struct.Struct("=Q")
# Length of the request id, the id, digest, start (seconds since the epoch), resident memory
# (bytes), offset of the input, and the lengths of its three parts, all 0 if the digest is given.
_RECORD: Final = struct.Struct(f"=B{ID_BYTES}s{DIGEST_BYTES}sdQ4I")
_STRIDE: Final = 256
# Number of requests in flight; the records of all but the first are at _BATCH_AT.
_COUNT_AT: Final = _RECORD.size
_MARK_AT: Final = _RECORD.size + 1
_RECORDS_END: Final = _HEAD + MAX_SLOTS * _STRIDE
# Aligned to pages, so that unused slots need no memory.
_INPUTS_AT: Final = -(-_RECORDS_END // mmap.PAGESIZE) * mmap.PAGESIZE
_BATCH_AT: Final = _INPUTS_AT + MAX_SLOTS * INPUT_BYTES
_BATCH_BYTES: Final = (MAX_BATCH - 1) * _STRIDE
_SIZE: Final = _BATCH_AT + MAX_SLOTS * _BATCH_BYTES

_GOING: Final = 0
_ENDED: Final = 1
_STUCK: Final = 2

_Piece = Callable[[int, int], bytes]


@dataclass(frozen=True)
class InFlightRequest:
    """A request that the engine computes; ``started`` is in seconds since the epoch.

    ``digest`` is that of its input, ``resident_bytes`` the worker's memory when it started.
    """

    request_id: str
    digest: str
    started: float
    resident_bytes: int


@dataclass(frozen=True)
class WorkerTrace:
    """The log of a worker that has ended: its requests, and whether it announced its end."""

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
        """Clear the records of an earlier master's workers."""
        self._map[_HEAD:_RECORDS_END] = bytes(_RECORDS_END - _HEAD)

    def reserve(self, slot: int) -> None:
        """Allocate the memory for this slot's inputs; without it, only one digest is logged.

        Writing to a page that the file system cannot allocate would end the process.

        Raises:
            OSError: there is not enough memory.
        """
        if not 0 <= slot < MAX_SLOTS or slot in self._reserved:
            return
        descriptor = open_group_file(self._path, os.O_RDWR)
        try:
            os.posix_fallocate(descriptor, _input_at(slot), INPUT_BYTES)
            os.posix_fallocate(descriptor, _batch_record_at(slot, 1), _BATCH_BYTES)
        finally:
            os.close(descriptor)
        self._reserved.add(slot)

    @property
    def epoch(self) -> int:
        """A number that changes when the crash history changes."""
        return int(_EPOCH.unpack_from(self._map, 0)[0])

    def next_epoch(self) -> None:
        """Tell all processes that the crash history has changed."""
        _EPOCH.pack_into(self._map, 0, (self.epoch + 1) % 2**64)

    def begin(self, slot: int, *computed: tuple[InFlightRequest, Input | None]) -> None:
        """Log the requests that the worker of this slot computes now, with their inputs."""
        if not 0 <= slot < MAX_SLOTS:
            return
        kept = computed[: MAX_BATCH if slot in self._reserved else 1]
        filled = 0
        for number, (request, given) in enumerate(kept):
            digest, start, lengths = request.digest, filled, (0, 0, 0)
            if given:
                lengths = self._put(slot, filled, given)
                filled += sum(lengths)
                digest = "" if any(lengths) else given.digest
            text = request.request_id.encode("ascii", "replace")[:ID_BYTES]
            row = (len(text), text, bytes.fromhex(digest), request.started, request.resident_bytes)
            _RECORD.pack_into(self._map, _record_at(slot, number), *row, start, *lengths)
        # Written last: a record that is not complete does not count.
        self._map[_at(slot) + _COUNT_AT] = len(kept)

    def end(self, slot: int) -> None:
        """Note that the worker of this slot has computed its requests."""
        if 0 <= slot < MAX_SLOTS:
            self._map[_at(slot) + _COUNT_AT] = 0

    def mark_ended(self, slot: int) -> None:
        """Note that the worker ends on purpose."""
        self._mark(slot, _ENDED)

    def mark_stuck(self, slot: int) -> None:
        """Note that the worker ends because its engine is stuck."""
        self._mark(slot, _STUCK)

    def take(self, slot: int) -> WorkerTrace:
        """Return the log of the last worker of this slot, and clear it for the next worker."""
        if not 0 <= slot < MAX_SLOTS:
            return WorkerTrace()
        at = _at(slot)
        mark = self._map[at + _MARK_AT]
        found = tuple(_requests(slot, self._map[at : at + _STRIDE], self._piece))
        self._map[at + _COUNT_AT] = self._map[at + _MARK_AT] = _GOING
        return WorkerTrace(found, ended=mark == _ENDED, stuck=mark == _STUCK)

    def _put(self, slot: int, filled: int, given: Input) -> tuple[int, int, int]:
        """Copy an input to its slot; return the lengths of its parts, all 0 if it does not fit."""
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
        # A stuck worker also ends on purpose: the first mark counts.
        if 0 <= slot < MAX_SLOTS and self._map[_at(slot) + _MARK_AT] == _GOING:
            self._map[_at(slot) + _MARK_AT] = mark


def read_in_flight(path: Path) -> list[InFlightRequest]:
    """Return the requests in such a file, which is untrusted; none if it cannot be read."""
    data = read_bounded(path, _RECORDS_END)
    slots = range(max(min((len(data) - _HEAD) // _STRIDE, MAX_SLOTS), 0))

    def piece(start: int, length: int) -> bytes:
        return read_bounded(path, length, start)

    heads = ((slot, data[_at(slot) : _at(slot) + _STRIDE]) for slot in slots)
    return [row for slot, head in heads for row in _requests(slot, head, piece)]


def _at(slot: int) -> int:
    return _HEAD + slot * _STRIDE


def _input_at(slot: int) -> int:
    return _INPUTS_AT + slot * INPUT_BYTES


def _batch_record_at(slot: int, number: int) -> int:
    return _BATCH_AT + slot * _BATCH_BYTES + (number - 1) * _STRIDE


def _record_at(slot: int, number: int) -> int:
    return _batch_record_at(slot, number) if number else _at(slot)


def _requests(slot: int, head: bytes, piece: _Piece) -> Iterator[InFlightRequest]:
    """Yield the requests of a slot, whose first record is ``head``."""
    # The model's code can write here too: every number is checked.
    for number in range(min(head[_COUNT_AT], MAX_BATCH)):
        record = (
            piece(_batch_record_at(slot, number), _RECORD.size) if number else head[: _RECORD.size]
        )
        if len(record) < _RECORD.size:
            return
        yield _read(record, slot, piece)


def _read(record: bytes, slot: int, piece: _Piece) -> InFlightRequest:
    """Return the request of a record; ``piece(start, length)`` reads bytes of the file."""
    length, text, digest, started, resident, start, *lengths = _RECORD.unpack(record)
    request = InFlightRequest(
        text[:length].decode("ascii", "replace"), digest.hex(), started, resident
    )
    if not (sum(lengths) and start + sum(lengths) <= INPUT_BYTES):
        return request
    data = piece(_input_at(slot) + start, sum(lengths))
    head, boundary = lengths[0], lengths[0] + lengths[1]
    given = Input(data[:head], data[head:boundary], data[boundary:])
    return replace(request, digest=given.digest)
