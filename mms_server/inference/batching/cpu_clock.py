"""The clock by which a forward's cost is counted while a model loads.

That of the processor does not count the time in which others have it. A kernel that accounts by its
tick (`CONFIG_TICK_CPU_ACCOUNTING`, some virtual machines) gives it steps of 1 to 10 ms, by which
most forwards cost nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

FINE_S: Final = 0.0001
"""A step that is a small part of what is timed: a forward of less gains by any batch."""

_LONGEST_S: Final = 0.05
_TRIES: Final = 3

Clock = Callable[[], float]


def cost_clock(processor: Clock = time.process_time, wall: Clock = time.perf_counter) -> Clock:
    """Return ``processor`` if its steps are fine, else ``wall``; it takes up to 0.15 s to know."""
    steps = (_step(processor, wall) for _ in range(_TRIES))
    return processor if any(step <= FINE_S for step in steps) else wall


def _step(clock: Clock, wall: Clock) -> float:
    """Return the seconds of one step of ``clock``, at the most those that it may take to see it."""
    end = wall() + _LONGEST_S
    before = now = clock()
    while now == before and wall() < end:
        now = clock()
    return now - before or _LONGEST_S
