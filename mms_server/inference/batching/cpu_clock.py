"""The clock for the cost of a forward while a model loads: CPU time, or else wall time.

CPU time does not include the time in which other processes run. But if the kernel accounts CPU time
by ticks (`CONFIG_TICK_CPU_ACCOUNTING`, in some virtual machines), it has steps of 1 to 10 ms, and
most forwards would cost nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

FINE_S: Final = 0.0001
"""Largest step of a usable CPU clock. A forward that takes less gains from any batch anyway."""

_MAX_STEP_S: Final = 0.05
_TRIES: Final = 3

Clock = Callable[[], float]


def cost_clock(processor: Clock = time.process_time, wall: Clock = time.perf_counter) -> Clock:
    """Return ``processor`` if its steps are fine, else ``wall``; this takes up to 0.15 s."""
    steps = (_step(processor, wall) for _ in range(_TRIES))
    return processor if any(step <= FINE_S for step in steps) else wall


def _step(clock: Clock, wall: Clock) -> float:
    """Return the seconds of one step of ``clock``, 50 ms if it does not advance in that time."""
    end = wall() + _MAX_STEP_S
    before = now = clock()
    while now == before and wall() < end:
        now = clock()
    return now - before or _MAX_STEP_S
