"""A certificate reads what it has written, and nothing that is none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mms_server.crashes.report import (
    ID,
    MAX_BYTES,
    MAX_LINES,
    MAX_STACK,
    Certificate,
    RecordError,
    new_id,
)
from tests.fixtures.crash_reports import certificate


def test_it_is_read_as_it_was_written() -> None:
    made = certificate(exit_code=None, log=("a", "b"), stack="File x", refused="ab" * 32)
    assert Certificate.from_json(made.to_json().encode()) == made


def test_it_is_shortened_to_what_can_be_read() -> None:
    long = certificate(stack="x" * (MAX_STACK + 1), log=("y" * 5000,) * (MAX_LINES + 1))
    read = Certificate.from_json(long.to_json().encode())
    assert len(read.stack) == MAX_STACK
    assert len(read.log) == MAX_LINES


def test_ids_sort_by_time() -> None:
    ids = [new_id(1_800_000_000 + step / 1000) for step in range(0, 2000, 7)]
    assert ids == sorted(ids)
    assert all(ID.fullmatch(one) for one in ids)


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "../../etc/passwd"},
        {"id": 7},
        {"at": "yesterday"},
        {"release": "no-hex"},
        {"model": "another"},
        {"role": "king"},
        {"cause": "age"},
        {"pid": -1},
        {"pid": True},
        {"pid": "7"},
        {"lived_s": float("nan")},
        {"peak_bytes": 2**60},
        {"exit_code": "0"},
        {"requests": [{}]},
        {"requests": [{"id": "a b", "digest": "", "seconds": 0}]},
        {"requests": [{"id": "a", "digest": "", "seconds": 0}] * 65},
        {"stack": "x" * (MAX_STACK + 1)},
        {"stack": None},
        {"log": ["x"] * (MAX_LINES + 1)},
        {"log": "x"},
        {"refused": "../x"},
        {"replay": []},
        {"more": 1},
    ],
    ids=lambda row: next(iter(row)),
)
def test_a_stranger_s_record_is_refused(changes: dict[str, Any]) -> None:
    found = {**json.loads(certificate().to_json()), **changes}
    with pytest.raises(RecordError):
        Certificate.from_json(json.dumps(found).encode())


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000])
def test_what_is_no_object_is_refused(data: bytes) -> None:
    with pytest.raises(RecordError):
        Certificate.from_json(data)


def test_the_limit_of_size() -> None:
    text = certificate().to_json().encode()
    assert Certificate.from_json(text + b" " * (MAX_BYTES - len(text)))
    with pytest.raises(RecordError, match="longer"):
        Certificate.from_json(text + b" " * (MAX_BYTES - len(text) + 1))
