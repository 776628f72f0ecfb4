"""The search for the highest rate that is answered in time."""

from __future__ import annotations

import math

import pytest

from tests.bench.goodput import highest, p99_s
from tests.bench.load import Sent


@pytest.mark.parametrize("most_in_time", [0.0, 1.0, 13.7, 39.9, 40.0])
def test_the_highest_rate_in_time_is_found_from_below(most_in_time: float) -> None:
    found = highest(lambda rate: rate <= most_in_time, 40.0, 6)

    assert most_in_time - 40 / 2**6 <= found <= most_in_time


@pytest.mark.parametrize(("failed", "in_time"), [(1, True), (2, False)])
def test_what_is_not_answered_rightly_counts_as_late(failed: int, in_time: bool) -> None:
    sent = [Sent(0.01, 0.0, right=number >= failed, status=200) for number in range(100)]

    assert (p99_s(sent) < math.inf) is in_time
