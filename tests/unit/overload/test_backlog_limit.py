"""The backlog: as many requests as are answered in time, up to the model's own limit."""

from __future__ import annotations

import pytest

from mms_server.overload.backlog_limit import CHANGED, FILLED, BacklogLimit, backlog_for


@pytest.mark.parametrize(
    ("rate", "limit_s", "expected"),
    [
        (0.0, 1.0, 512),
        (50.0, 0.0, 512),
        (50.0, 1.0, int(FILLED * 50)),
        (0.1, 1.0, 1),
        (854.0, 1.0, 512),
        (852.0, 1.0, int(FILLED * 852)),
    ],
    ids=["rate not known", "no limit", "by the rate", "at least one", "at most", "just under"],
)
def test_the_backlog_is_what_is_answered_in_time(
    rate: float, limit_s: float, expected: int
) -> None:
    assert backlog_for(rate, limit_s, 512) == expected


def test_without_a_time_limit_the_backlog_stays() -> None:
    assert BacklogLimit(512, 0.0, 2).record(1, 10.0) is None


def test_the_rate_is_that_of_all_workers() -> None:
    # Two workers that take 40 ms for a request answer 50 in a second.
    assert BacklogLimit(512, 1.0, 2).record(1, 0.04) == int(FILLED * 50)
    assert BacklogLimit(512, 1.0, 2).record(8, 8 * 0.04) == int(FILLED * 50)


def test_a_small_change_is_ignored() -> None:
    queue = BacklogLimit(100, 1.0, 1)
    assert queue.record(1, 0.01) == int(FILLED * 100)
    assert queue.record(1, 0.01) is None
    assert queue.record(1, 0.01 * (1 + 4 * CHANGED)) is None, "a fifth of it counts"
    assert queue.record(1, 0.01 * (1 + 9 * CHANGED)) is not None


def test_a_round_without_requests_is_ignored() -> None:
    assert BacklogLimit(100, 1.0, 1).record(0, 1.0) is None
