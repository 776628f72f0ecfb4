"""Batch delay (``max_batch_delay_ms``): wait for more requests for a round that is not full.

The default is no delay: then the engine never waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import gevent
from gevent.event import Event

_POLL_S: Final = 0.0005

WaitForBatch = Callable[[Callable[[], bool]], None]
"""Returns when the round is complete, and its argument says that all its requests were read."""


def no_delay(_all_read: Callable[[], bool]) -> None:
    """Do not wait."""


class BatchDelay:
    """The batch delay of one worker: at most ``delay_s`` seconds, 0 for none.

    It is used from one event loop.
    """

    def __init__(self, delay_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.delay_s = delay_s
        self._clock = clock
        self._deadline = 0.0
        self._ended: Event | None = None
        self._timer: Any = None
        self._on_end: Callable[[], None] = lambda: None

    @property
    def open(self) -> bool:
        """Whether the round is open for more requests."""
        return self._ended is not None

    def begin(self, on_end: Callable[[], None]) -> None:
        """Keep the round open from now on; call ``on_end`` when the delay ends."""
        self._ended, self._on_end = Event(), on_end
        self._deadline = self._clock() + self.delay_s
        self._timer = gevent.spawn_later(self.delay_s, self.end)

    def end(self) -> None:
        """End the delay, if the round is open."""
        ended, self._ended = self._ended, None
        if ended is None:
            return
        ended.set()
        if self._timer is not gevent.getcurrent():
            self._timer.kill(block=False)
        self._on_end()

    def wait(self, all_read: Callable[[], bool]) -> None:
        """Wait until the delay has ended and ``all_read`` says that all requests were read."""
        if not self.delay_s:
            return
        ended = self._ended
        if ended is not None:
            ended.wait(self.delay_s)
        # The last requests of a full round are accepted, but may not have been read yet.
        while not all_read() and self._clock() < self._deadline:
            gevent.sleep(_POLL_S)
