"""A wait, for a limited time, for more requests to come into a round that is not full.

Without it the engine never waits, which is how a model is served by default.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import gevent
from gevent.event import Event

_LOOK_S: Final = 0.0005

Gathered = Callable[[Callable[[], bool]], None]
"""Returns when no more requests are waited for, and it is told that those taken have been read."""


def no_delay(_all_read: Callable[[], bool]) -> None:
    """Wait for nothing."""


class BatchDelay:
    """One worker's wait; ``delay_s`` is the longest, 0 for none. Used from one event loop."""

    def __init__(self, delay_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.delay_s = delay_s
        self._clock = clock
        self._until = 0.0
        self._over: Event | None = None
        self._timer: Any = None
        self._then: Callable[[], None] = lambda: None

    @property
    def open(self) -> bool:
        """Whether more are waited for."""
        return self._over is not None

    def begin(self, then: Callable[[], None]) -> None:
        """Wait for more from now on; call ``then`` when that ends."""
        self._over, self._then = Event(), then
        self._until = self._clock() + self.delay_s
        self._timer = gevent.spawn_later(self.delay_s, self.end)

    def end(self) -> None:
        """Wait no more, and compute what is there."""
        over, self._over = self._over, None
        if over is None:
            return
        over.set()
        if self._timer is not gevent.getcurrent():
            self._timer.kill(block=False)
        self._then()

    def wait(self, all_read: Callable[[], bool]) -> None:
        """Return when none are waited for, and those taken have been read, as ``all_read`` says."""
        if not self.delay_s:
            return
        over = self._over
        if over is not None:
            over.wait(self.delay_s)
        # A round that is full has its last requests accepted, but not yet read.
        while not all_read() and self._clock() < self._until:
            gevent.sleep(_LOOK_S)
