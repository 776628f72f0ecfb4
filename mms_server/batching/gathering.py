"""A wait, for a limited time, for more requests to come into a round that is not full.

Without it the engine never waits, which is how a model is served by default.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
from gevent.event import Event


class Gathering:
    """One worker's wait; ``delay_s`` is the longest, 0 for none. Used from one event loop."""

    def __init__(self, delay_s: float) -> None:
        self.delay_s = delay_s
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

    def wait(self) -> None:
        """Return when none are waited for."""
        over = self._over
        if over is not None:
            over.wait(self.delay_s)
