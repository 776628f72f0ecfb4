"""Who is refused before it waits, by what the workers noted."""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path

import pytest

from mms_server.host.instance_files import Places
from mms_server.overload.admission import refusal
from mms_server.overload.deadline import QUEUED_S
from mms_server.overload.queue_delay import RECENT_S, Noted, QueueNote, expected_wait, noted
from mms_server.overload.worker_load import Hands

NOW = 1_700_000_000.0


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path)


def note(places: Places, queue_s: float = 2.0, request_s: float = 0.1) -> None:
    QueueNote(places.queue, lambda: NOW).took(queue_s, request_s)


def busy(places: Places, *counts: int) -> None:
    """Write how many requests each worker has in hand."""
    for slot, count in enumerate(counts):
        hands = Hands(places.hands, len(counts))
        hands.begin(slot)
        hands.hold(count)


@pytest.mark.parametrize(
    ("queue_s", "limit_s", "refused"),
    [
        (2.0, 2.0, True),
        (2.0, 2.099, True),
        (2.0, 2.11, False),
        (QUEUED_S, 0.05, True),
        (QUEUED_S * 0.99, 0.001, False),
        (2.0, 0.0, False),
    ],
)
def test_what_waits_and_is_computed_within_the_limit_is_let_in(
    queue_s: float, limit_s: float, refused: bool
) -> None:
    error = refusal((Noted(NOW, queue_s, 0.1), 2), limit_s)
    assert (error is not None) == refused
    if error:
        assert (error.depth, error.rate) == (round(queue_s * 20), 20)
        assert error.retry_after_s == max(1, math.ceil(queue_s))


def test_nothing_known_refuses_nobody() -> None:
    assert refusal(None, 0.001) is None


def test_what_was_noted_counts_while_all_workers_are_busy(places: Places) -> None:
    assert expected_wait(places, NOW) is None
    note(places)
    busy(places, 1, 3)
    assert expected_wait(places, NOW + 1) == Noted(NOW, 2.0, 0.1)
    busy(places, 1, 0)
    assert expected_wait(places, NOW + 1) is None, "one of them would take it at once"
    busy(places, *[1] * 40, 0)
    assert expected_wait(places, NOW + 1) is None, "however many they are"


def test_it_counts_for_a_while(places: Places) -> None:
    note(places)
    busy(places, 1)
    assert expected_wait(places, NOW + RECENT_S)
    assert not expected_wait(places, NOW + RECENT_S + 0.01)
    assert not expected_wait(places, NOW - 0.01), "a clock that was set says nothing"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x" * 23,
        struct.pack("<ddd", NOW, math.nan, 0.1),
        struct.pack("<ddd", NOW, math.inf, 0.1),
        struct.pack("<ddd", NOW, -1.0, 0.1),
        struct.pack("<ddd", NOW, 1.0, -0.1),
        struct.pack("<ddd", NOW, 1e9, 0.1),
        struct.pack("<ddd", 0.0, 1.0, 0.1),
    ],
)
def test_what_a_model_may_have_written_is_no_number_of_a_queue(
    places: Places, content: bytes
) -> None:
    places.queue.write_bytes(content)
    assert noted(places.queue) is None


def test_a_link_or_a_pipe_is_not_read(places: Places, tmp_path: Path) -> None:
    note(Places(tmp_path))
    places.queue.rename(tmp_path / "other")
    places.queue.symlink_to(tmp_path / "other")
    assert noted(places.queue) is None
    places.queue.unlink()
    os.mkfifo(places.queue)
    assert noted(places.queue) is None
