"""Records of requests in flight outlive the process that wrote them."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from mms_server.config.model_settings import MAX_BATCH
from mms_server.crashes.in_flight_log import (
    INPUT_BYTES,
    MAX_SLOTS,
    InFlightLog,
    InFlightRequest,
    WorkerTrace,
    read_in_flight,
)
from mms_server.crashes.input_digest import Input
from tests.fixtures.crash_reports import DIGEST

FLIGHT = InFlightRequest("some-id", DIGEST, 1_800_000_000.25, 123_456_789)


def test_a_record_outlives_its_process(tmp_path: Path) -> None:
    in_flight = InFlightLog(tmp_path / "flights")
    child = os.fork()
    if child == 0:
        in_flight.begin(3, (FLIGHT, None))
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert read_in_flight(tmp_path / "flights") == [FLIGHT]
    assert in_flight.take(3) == WorkerTrace((FLIGHT,))
    assert in_flight.take(3) == WorkerTrace()
    assert read_in_flight(tmp_path / "flights") == []


def test_what_was_computed_is_not_in_flight(tmp_path: Path) -> None:
    in_flight = InFlightLog(tmp_path / "flights")
    in_flight.begin(0, (FLIGHT, None))
    in_flight.end(0)
    assert in_flight.take(0) == WorkerTrace()


def test_the_first_word_about_an_end_counts(tmp_path: Path) -> None:
    in_flight = InFlightLog(tmp_path / "flights")
    in_flight.mark_stuck(1)
    in_flight.mark_ended(1)
    assert in_flight.take(1) == WorkerTrace(stuck=True)
    in_flight.mark_ended(1)
    assert in_flight.take(1) == WorkerTrace(ended=True)


def test_the_last_slot_and_the_one_beyond(tmp_path: Path) -> None:
    in_flight = InFlightLog(tmp_path / "flights")
    in_flight.begin(MAX_SLOTS - 1, (FLIGHT, None))
    in_flight.begin(MAX_SLOTS, (FLIGHT, None))
    in_flight.begin(-1, (FLIGHT, None))
    in_flight.mark_ended(MAX_SLOTS)
    assert in_flight.take(MAX_SLOTS - 1) == WorkerTrace((FLIGHT,))
    assert in_flight.take(MAX_SLOTS) == WorkerTrace()


def test_the_longest_id_and_a_longer_one(tmp_path: Path) -> None:
    in_flight = InFlightLog(tmp_path / "flights")
    for length in (128, 129):
        in_flight.begin(0, (InFlightRequest("x" * length, DIGEST, 0.0, 0), None))
        (found,) = in_flight.take(0).in_flight
        assert len(found.request_id) == 128


def test_processes_share_the_epoch_and_a_new_master_clears(tmp_path: Path) -> None:
    one, other = InFlightLog(tmp_path / "flights"), InFlightLog(tmp_path / "flights")
    one.begin(0, (FLIGHT, None))
    one.next_epoch()
    assert other.epoch == 1
    other.clear()
    assert one.take(0) == WorkerTrace()
    assert one.epoch == 1


def test_a_file_of_another_s_making_is_read_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "flights"
    assert read_in_flight(file) == []
    for size, count in (
        (0, 0),
        (100, 0),
        (64 + 256 * 3, 3),
        (64 + 256 * MAX_SLOTS + 10, MAX_SLOTS),
    ):
        file.write_bytes(b"\xff" * size)
        assert len(read_in_flight(file)) == count


def test_an_input_outlives_its_process_and_is_digested_then(tmp_path: Path) -> None:
    in_flight, given = InFlightLog(tmp_path / "flights"), Input(b"type\n\n", b"mark", b"a--mark b")
    child = os.fork()
    if child == 0:
        in_flight.reserve(3)
        in_flight.begin(3, (replace(FLIGHT, digest=""), given))
        if "digest" in vars(given):
            os._exit(1)
        os.kill(os.getpid(), signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the worker took the time to digest its input"
    expected = replace(FLIGHT, digest=given.digest)
    assert read_in_flight(tmp_path / "flights") == [expected]
    assert in_flight.take(3) == WorkerTrace((expected,))


@pytest.mark.parametrize("size", [INPUT_BYTES, INPUT_BYTES + 1])
def test_the_longest_input_and_a_longer_one(tmp_path: Path, size: int) -> None:
    in_flight, given = InFlightLog(tmp_path / "flights"), Input(b"\n\n", b"", bytes(size - 2))
    in_flight.reserve(MAX_SLOTS - 1)
    in_flight.begin(MAX_SLOTS - 1, (FLIGHT, given))
    assert ("digest" in vars(given)) is (size > INPUT_BYTES)
    assert in_flight.take(MAX_SLOTS - 1) == WorkerTrace((replace(FLIGHT, digest=given.digest),))


def test_without_memory_for_inputs_a_record_has_the_digest(tmp_path: Path) -> None:
    in_flight, given = InFlightLog(tmp_path / "flights"), Input(b"\n\n", b"", b"body")
    in_flight.begin(0, (FLIGHT, given))
    assert "digest" in vars(given)
    assert in_flight.take(0) == WorkerTrace((replace(FLIGHT, digest=given.digest),))


def test_a_batch_outlives_its_process_whole(tmp_path: Path) -> None:
    in_flight = InFlightLog(tmp_path / "flights")
    in_flight.reserve(5)
    batch = [
        (InFlightRequest(f"id-{number}", "", 1.0, number), Input(b"type\n\n", b"", b"%d" % number))
        for number in range(MAX_BATCH + 1)
    ]
    in_flight.begin(5, *batch)
    expected = [replace(flight, digest=given.digest) for flight, given in batch[:MAX_BATCH]]
    assert read_in_flight(tmp_path / "flights") == expected
    assert in_flight.take(5).in_flight == tuple(expected)
    in_flight.begin(5, batch[0])
    assert in_flight.take(5).in_flight == (expected[0],)


def test_what_has_no_room_beside_its_mates_is_digested(tmp_path: Path) -> None:
    in_flight, size = InFlightLog(tmp_path / "flights"), INPUT_BYTES // 2
    in_flight.reserve(0)
    given = [Input(b"", b"", bytes(size)), Input(b"", b"", bytes(size + 1)), Input(b"", b"", b"x")]
    in_flight.begin(0, *((replace(FLIGHT, digest=""), one) for one in given))
    assert ["digest" in vars(one) for one in given] == [False, True, False]
    assert [row.digest for row in in_flight.take(0).in_flight] == [one.digest for one in given]


def test_without_memory_for_mates_the_first_is_noted(tmp_path: Path) -> None:
    in_flight = InFlightLog(tmp_path / "flights")
    in_flight.begin(0, (FLIGHT, None), (replace(FLIGHT, request_id="mate"), None))
    assert in_flight.take(0).in_flight == (FLIGHT,)
