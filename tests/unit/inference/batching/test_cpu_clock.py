"""A forward's cost is counted by the processor's clock, where that has fine steps."""

from __future__ import annotations

import time
from itertools import count

from mms_server.inference.batching.cpu_clock import FINE_S, Clock, cost_clock


def stepping(step_s: float, calls: int) -> Clock:
    """Return a clock that goes on by ``step_s`` with every ``calls``-th look."""
    looks = count(1)
    return lambda: next(looks) // calls * step_s


def wall() -> Clock:
    return stepping(0.000_001, 1)


def test_fine_steps_are_used() -> None:
    processor = stepping(FINE_S, 5)
    assert cost_clock(processor, wall()) is processor


def test_coarse_steps_are_not() -> None:
    other = wall()
    assert cost_clock(stepping(FINE_S * 1.01, 5), other) is other


def test_one_step_that_was_long_does_not_decide() -> None:
    steps = iter([0.0, 0.01, 0.01, 0.01 + FINE_S / 2])

    def processor() -> float:
        return next(steps)

    assert cost_clock(processor, wall()) is processor
    assert next(steps, None) is None


def test_a_clock_that_stands_still_is_left() -> None:
    other = wall()
    assert cost_clock(lambda: 0.0, other) is other


def test_here_it_is_quick_to_decide() -> None:
    began = time.perf_counter()
    chosen = cost_clock()
    assert chosen() >= 0
    assert time.perf_counter() - began < 1
