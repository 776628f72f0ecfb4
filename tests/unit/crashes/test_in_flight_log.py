"""Records of requests in flight outlive the process that wrote them."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from mms_server.config.model_settings import MAX_BATCH
from mms_server.crashes.in_flight_log import INPUT_BYTES, MAX_SLOTS, Flight, Flights, Trace, flying
from mms_server.crashes.input_digest import Input
from tests.fixtures.crash_reports import DIGEST

FLIGHT = Flight("some-id", DIGEST, 1_800_000_000.25, 123_456_789)


def test_a_record_outlives_its_process(tmp_path: Path) -> None:
    flights = Flights(tmp_path / "flights")
    child = os.fork()
    if child == 0:
        flights.begin(3, (FLIGHT, None))
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert flying(tmp_path / "flights") == [FLIGHT]
    assert flights.take(3) == Trace((FLIGHT,))
    assert flights.take(3) == Trace()
    assert flying(tmp_path / "flights") == []


def test_what_was_computed_is_not_in_flight(tmp_path: Path) -> None:
    flights = Flights(tmp_path / "flights")
    flights.begin(0, (FLIGHT, None))
    flights.end(0)
    assert flights.take(0) == Trace()


def test_the_first_word_about_an_end_counts(tmp_path: Path) -> None:
    flights = Flights(tmp_path / "flights")
    flights.say_stuck(1)
    flights.say_ended(1)
    assert flights.take(1) == Trace(stuck=True)
    flights.say_ended(1)
    assert flights.take(1) == Trace(ended=True)


def test_the_last_slot_and_the_one_beyond(tmp_path: Path) -> None:
    flights = Flights(tmp_path / "flights")
    flights.begin(MAX_SLOTS - 1, (FLIGHT, None))
    flights.begin(MAX_SLOTS, (FLIGHT, None))
    flights.begin(-1, (FLIGHT, None))
    flights.say_ended(MAX_SLOTS)
    assert flights.take(MAX_SLOTS - 1) == Trace((FLIGHT,))
    assert flights.take(MAX_SLOTS) == Trace()


def test_the_longest_id_and_a_longer_one(tmp_path: Path) -> None:
    flights = Flights(tmp_path / "flights")
    for length in (128, 129):
        flights.begin(0, (Flight("x" * length, DIGEST, 0.0, 0), None))
        (found,) = flights.take(0).flights
        assert len(found.request_id) == 128


def test_processes_share_the_epoch_and_a_new_master_clears(tmp_path: Path) -> None:
    one, other = Flights(tmp_path / "flights"), Flights(tmp_path / "flights")
    one.begin(0, (FLIGHT, None))
    one.next_epoch()
    assert other.epoch == 1
    other.clear()
    assert one.take(0) == Trace()
    assert one.epoch == 1


def test_a_file_of_another_s_making_is_read_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "flights"
    assert flying(file) == []
    for size, count in (
        (0, 0),
        (100, 0),
        (64 + 256 * 3, 3),
        (64 + 256 * MAX_SLOTS + 10, MAX_SLOTS),
    ):
        file.write_bytes(b"\xff" * size)
        assert len(flying(file)) == count


def test_an_input_outlives_its_process_and_is_digested_then(tmp_path: Path) -> None:
    flights, given = Flights(tmp_path / "flights"), Input(b"type\n\n", b"mark", b"a--mark b")
    child = os.fork()
    if child == 0:
        flights.reserve(3)
        flights.begin(3, (replace(FLIGHT, digest=""), given))
        if "digest" in vars(given):
            os._exit(1)
        os.kill(os.getpid(), signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the worker took the time to digest its input"
    expected = replace(FLIGHT, digest=given.digest)
    assert flying(tmp_path / "flights") == [expected]
    assert flights.take(3) == Trace((expected,))


@pytest.mark.parametrize("size", [INPUT_BYTES, INPUT_BYTES + 1])
def test_the_longest_input_and_a_longer_one(tmp_path: Path, size: int) -> None:
    flights, given = Flights(tmp_path / "flights"), Input(b"\n\n", b"", bytes(size - 2))
    flights.reserve(MAX_SLOTS - 1)
    flights.begin(MAX_SLOTS - 1, (FLIGHT, given))
    assert ("digest" in vars(given)) is (size > INPUT_BYTES)
    assert flights.take(MAX_SLOTS - 1) == Trace((replace(FLIGHT, digest=given.digest),))


def test_without_memory_for_inputs_a_record_has_the_digest(tmp_path: Path) -> None:
    flights, given = Flights(tmp_path / "flights"), Input(b"\n\n", b"", b"body")
    flights.begin(0, (FLIGHT, given))
    assert "digest" in vars(given)
    assert flights.take(0) == Trace((replace(FLIGHT, digest=given.digest),))


def test_a_batch_outlives_its_process_whole(tmp_path: Path) -> None:
    flights = Flights(tmp_path / "flights")
    flights.reserve(5)
    batch = [
        (Flight(f"id-{number}", "", 1.0, number), Input(b"type\n\n", b"", b"%d" % number))
        for number in range(MAX_BATCH + 1)
    ]
    flights.begin(5, *batch)
    expected = [replace(flight, digest=given.digest) for flight, given in batch[:MAX_BATCH]]
    assert flying(tmp_path / "flights") == expected
    assert flights.take(5).flights == tuple(expected)
    flights.begin(5, batch[0])
    assert flights.take(5).flights == (expected[0],)


def test_what_has_no_room_beside_its_mates_is_digested(tmp_path: Path) -> None:
    flights, size = Flights(tmp_path / "flights"), INPUT_BYTES // 2
    flights.reserve(0)
    given = [Input(b"", b"", bytes(size)), Input(b"", b"", bytes(size + 1)), Input(b"", b"", b"x")]
    flights.begin(0, *((replace(FLIGHT, digest=""), one) for one in given))
    assert ["digest" in vars(one) for one in given] == [False, True, False]
    assert [row.digest for row in flights.take(0).flights] == [one.digest for one in given]


def test_without_memory_for_mates_the_first_is_noted(tmp_path: Path) -> None:
    flights = Flights(tmp_path / "flights")
    flights.begin(0, (FLIGHT, None), (replace(FLIGHT, request_id="mate"), None))
    assert flights.take(0).flights == (FLIGHT,)
