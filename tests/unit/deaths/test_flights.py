"""Records of requests in flight outlive the process that wrote them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from mms_server.deaths.flights import MAX_SLOTS, Flight, Flights, Trace, flying
from tests.unit.deaths.makes import DIGEST

FLIGHT = Flight("some-id", DIGEST, 1_800_000_000.25, 123_456_789)


def test_a_record_outlives_its_process(tmp_path: Path) -> None:
    flights = Flights(tmp_path / "flights")
    child = os.fork()
    if child == 0:
        flights.begin(3, FLIGHT)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert flying((tmp_path / "flights").read_bytes()) == [FLIGHT]
    assert flights.take(3) == Trace(FLIGHT)
    assert flights.take(3) == Trace(None)
    assert flying((tmp_path / "flights").read_bytes()) == []


def test_what_was_computed_is_not_in_flight(tmp_path: Path) -> None:
    flights = Flights(tmp_path / "flights")
    flights.begin(0, FLIGHT)
    flights.end(0)
    assert flights.take(0) == Trace(None)


def test_the_first_word_about_an_end_counts(tmp_path: Path) -> None:
    flights = Flights(tmp_path / "flights")
    flights.say_stuck(1)
    flights.say_ended(1)
    assert flights.take(1) == Trace(None, stuck=True)
    flights.say_ended(1)
    assert flights.take(1) == Trace(None, ended=True)


def test_the_last_slot_and_the_one_beyond(tmp_path: Path) -> None:
    flights = Flights(tmp_path / "flights")
    flights.begin(MAX_SLOTS - 1, FLIGHT)
    flights.begin(MAX_SLOTS, FLIGHT)
    flights.begin(-1, FLIGHT)
    flights.say_ended(MAX_SLOTS)
    assert flights.take(MAX_SLOTS - 1) == Trace(FLIGHT)
    assert flights.take(MAX_SLOTS) == Trace(None)


def test_the_longest_id_and_a_longer_one(tmp_path: Path) -> None:
    flights = Flights(tmp_path / "flights")
    for length in (128, 129):
        flights.begin(0, Flight("x" * length, DIGEST, 0.0, 0))
        found = flights.take(0).flight
        assert found is not None
        assert len(found.request_id) == 128


def test_processes_share_the_epoch_and_a_new_master_clears(tmp_path: Path) -> None:
    one, other = Flights(tmp_path / "flights"), Flights(tmp_path / "flights")
    one.begin(0, FLIGHT)
    one.next_epoch()
    assert other.epoch == 1
    other.clear()
    assert one.take(0) == Trace(None)
    assert one.epoch == 1


def test_a_file_of_another_s_making_is_read_as_it_is() -> None:
    assert flying(b"") == []
    assert flying(b"\xff" * 100) == []
    assert len(flying(b"\xff" * (64 + 256 * 3))) == 3
