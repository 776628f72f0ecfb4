"""Waits before processes that die again and again are started again."""

from __future__ import annotations

from pathlib import Path

import pytest

from mms_server.crashes import start_history
from mms_server.crashes.backoff import (
    EARLY_S,
    FREE_DEATHS,
    LONGEST_S,
    WINDOW_S,
    CrashBackoff,
    wait_s,
)
from mms_server.crashes.start_history import FORGET_S, STEADY_S, StartHistory


def test_the_first_deaths_cost_nothing_and_then_each_twice_as_long() -> None:
    pace, waits = CrashBackoff(), []
    for number in range(12):
        pace.died(number, 0.1)
        waits.append(pace.left(number))
    assert waits[:FREE_DEATHS] == [0.0] * FREE_DEATHS
    assert waits[FREE_DEATHS:] == [0.5, 1, 2, 4, 8, 16, LONGEST_S, LONGEST_S, LONGEST_S]
    assert pace.left(11 + LONGEST_S) == 0


@pytest.mark.parametrize(("lived_s", "waits"), [(EARLY_S - 0.1, True), (EARLY_S, False)])
def test_who_lived_long_enough_does_not_count(lived_s: float, waits: bool) -> None:
    pace = CrashBackoff()
    for _ in range(FREE_DEATHS + 1):
        pace.died(0, lived_s)
    assert bool(pace.left(0)) is waits


def test_old_deaths_are_forgotten() -> None:
    pace = CrashBackoff()
    for _ in range(FREE_DEATHS):
        pace.died(0, 0.1)
    pace.died(WINDOW_S, 0.1)
    assert pace.left(WINDOW_S) == 0


def test_a_wait_is_bounded_however_many_there_were() -> None:
    assert wait_s(10_000) == LONGEST_S


def test_starts_that_fail_wait_longer_each_time(tmp_path: Path) -> None:
    file, waits, now = tmp_path / "starts.json", [], 1.8e9
    for _ in range(8):
        begun = start_history.read(file).again(now)
        start_history.write(file, begun)
        waits.append(begun.next - now)
        now = begun.next + 1
    assert waits == [0, 1, 2, 4, 8, 16, 30, 30]


@pytest.mark.parametrize(
    ("before", "now", "failures"),
    [
        (StartHistory(), 5.0, 0),
        (StartHistory(4, begun=100.0), 101.0, 5),
        (StartHistory(4, begun=100.0, ended=150.0), 151.0, 0),
        (StartHistory(4, begun=100.0), 100.0 + FORGET_S, 5),
        (StartHistory(4, begun=100.0), 100.1 + FORGET_S, 0),
        (StartHistory(4, begun=100.0, ready=101.0), 100.9 + STEADY_S, 5),
        (StartHistory(4, begun=100.0, ready=101.0), 101.0 + STEADY_S, 1),
        (StartHistory(4, begun=100.0), 50.0, 0),
    ],
)
def test_what_counts_as_a_failed_start(before: StartHistory, now: float, failures: int) -> None:
    assert before.again(now).failures == failures


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"x": 1}', b'{"begun": "x"}', b"7"])
def test_a_file_that_is_none_counts_nothing(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "starts.json").write_bytes(data)
    assert start_history.read(tmp_path / "starts.json") == StartHistory()


def test_the_master_notes_what_became_of_it(tmp_path: Path) -> None:
    file = tmp_path / "starts.json"
    start_history.write(file, StartHistory(2, 1.8e9))
    start_history.note_ready(file)
    start_history.note_end(file)
    found = start_history.read(file)
    assert found.failures == 2
    assert found.ended >= found.ready > 0
    assert not found.unasked()
