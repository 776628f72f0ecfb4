"""The answer when the backlog of a model is full."""

from __future__ import annotations

import pytest

from mms_server.overload.load_shedding import (
    LEAST_S,
    LONGEST_WAIT_S,
    MOST_S,
    DrainRates,
    Queue,
    backlog_full_answer,
)

QUEUE = Queue("digits", "digits.1", 512)


class Told:
    """A clock and a count that a test sets."""

    def __init__(self) -> None:
        self.now, self.count = 100.0, 0.0

    def rates(self) -> DrainRates:
        return DrainRates(lambda _release: self.count, lambda: self.now)


def test_the_rate_is_that_since_the_last_call() -> None:
    told = Told()
    rates = told.rates()
    assert rates.of("a") == 0
    told.now, told.count = 102.0, 80.0
    assert rates.of("a") == 40
    assert rates.of("b") == 0, "it was never asked for"


@pytest.mark.parametrize(
    ("later_s", "rate"),
    [(LEAST_S * 0.99, 0.0), (LEAST_S, 20.0), (MOST_S, 10 / MOST_S), (MOST_S * 1.01, 0.0)],
)
def test_a_time_that_is_too_short_or_too_long_gives_no_rate(later_s: float, rate: float) -> None:
    told = Told()
    rates = told.rates()
    rates.of("a")
    told.now, told.count = 100.0 + later_s, 10.0
    assert rates.of("a") == pytest.approx(rate)


def test_a_counter_that_was_reset_gives_no_rate() -> None:
    told = Told()
    told.count = 50.0
    rates = told.rates()
    rates.of("a")
    told.now, told.count = 101.0, 3.0
    assert rates.of("a") == 0


@pytest.mark.parametrize(
    ("rate", "retry_s"), [(0, 1), (5120, 1), (512, 1), (511, 2), (1, LONGEST_WAIT_S)]
)
def test_retry_after_is_when_the_queue_will_be_empty(rate: float, retry_s: int) -> None:
    assert backlog_full_answer(QUEUE, rate)[0] == retry_s


def test_the_body_has_the_fields_of_all_protocols() -> None:
    body = backlog_full_answer(QUEUE, 256)[1]
    text = "digits is busy: 512 requests wait, the most that may, and 256 are answered in a second."
    assert body["error"] == body["message"] == text
    assert (body["code"], body["type"]) == (503, "ServiceUnavailableException")
    assert body["queue"] == {"depth": 512, "rate_per_s": 256, "estimate_s": 2.0}
    assert "estimate_s" not in backlog_full_answer(QUEUE, 0)[1]["queue"]
