"""Tests of the choice of a clock for the cost of a forward: CPU time if its steps are fine."""

from __future__ import annotations

import time
from itertools import count

from mms_server.inference.batching.cpu_clock import FINE_S, Clock, cost_clock


def stepping(step_s: float, calls: int) -> Clock:
    """Return a clock that advances by ``step_s`` with every ``calls``-th call."""
    numbers = count(1)
    return lambda: next(numbers) // calls * step_s


def wall() -> Clock:
    return stepping(0.000_001, 1)


def test_a_cpu_clock_with_fine_steps_is_used() -> None:
    processor = stepping(FINE_S, 5)
    assert cost_clock(processor, wall()) is processor


def test_a_cpu_clock_with_coarse_steps_is_not_used() -> None:
    other = wall()
    assert cost_clock(stepping(FINE_S * 1.01, 5), other) is other


def test_one_long_step_does_not_decide() -> None:
    steps = iter([0.0, 0.01, 0.01, 0.01 + FINE_S / 2])

    def processor() -> float:
        return next(steps)

    assert cost_clock(processor, wall()) is processor
    assert next(steps, None) is None


def test_a_cpu_clock_that_stands_still_is_not_used() -> None:
    other = wall()
    assert cost_clock(lambda: 0.0, other) is other


def test_the_choice_takes_less_than_a_second() -> None:
    began = time.perf_counter()
    clock = cost_clock()
    assert clock() >= 0
    assert time.perf_counter() - began < 1
