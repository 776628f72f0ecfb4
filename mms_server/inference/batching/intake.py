"""Take requests from a release's socket in rounds: one, and what waits beside it.

A round is taken only when the worker has nothing in hand, so between two rounds it may end without
losing anything, as between two requests. Nothing is waited for: a round is what is in the kernel's
queue at that moment, and as many of it as :mod:`mms_server.overload.worker_load` allows. With a
delay it takes what comes within that as well, as long as no other worker is idle.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any, Final

from gevent.pool import Pool
from gevent.server import StreamServer

from mms_server.inference.batching.batch_delay import BatchDelay
from mms_server.overload.worker_load import WorkerLoad

_AGAIN: Final = b"\r\nX-Mms-Again: 1\r\n"
_PEEKED: Final = 16 * 1024

Serve = Callable[[Any, Any], None]
Done = Callable[[int, float], None]


class RoundIntake(StreamServer):  # type: ignore[misc]
    """Accepts at most ``most`` connections at a time; ``done`` is told their number and seconds.

    ``batch_delay`` is the wait for more of them.
    """

    max_accept = 1

    def __init__(
        self,
        listener: Any,
        serve: Serve,
        worker_load: WorkerLoad,
        most: int,
        *,
        done: Done,
        batch_delay: BatchDelay | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._serve = serve
        self._worker_load = worker_load
        self._most = most
        self._done = done
        self._batch_delay = batch_delay or BatchDelay(0)
        self._clock = clock
        self._began = 0.0
        self._taken = self._left = 0
        self._newest: Any = None
        super().__init__(listener, spawn=Pool(most))

    def _do_read(self) -> None:
        """Take a round, or more for the one that gathers; called when a connection waits."""
        if not self._batch_delay.open:
            self._began = self._clock()
            self._taken, self._left, self._newest = 0, 0, None
            # Before the first is taken: another that wakes up as well must not count on this one.
            self._hold(1)
            self._take()
        # The newest one's head is only looked at if there may be another.
        while self._may_take_more() and self._take():
            pass
        self._hold(self._taken - self._left)
        if not self._taken:
            return
        if self._batch_delay.open:
            # What it may not take now would wake it up again at once.
            if not self._may_take_more():
                self._batch_delay.end()
        elif self._batch_delay.delay_s and self._taken < self._worker_load.most(self._most):
            self._batch_delay.begin(self.stop_accepting)
        else:
            self.stop_accepting()

    def _may_take_more(self) -> bool:
        """Return whether another may be taken beside what was; who gathers has read the newest."""
        room = 0 < self._taken < self._worker_load.most(self._most)
        return room and _is_plain(self._newest, unread=self._batch_delay.open)

    def _take(self) -> bool:
        """Accept one more; return whether there was one."""
        before = self._taken
        super()._do_read()
        return self._taken > before

    def do_handle(self, *args: Any) -> None:
        """Serve a connection that was accepted."""
        before = self._newest
        self._taken, self._newest = self._taken + 1, args[0]
        self._hold(self._taken - self._left)
        try:
            super().do_handle(*args)
        except BaseException:
            self._taken, self._newest = self._taken - 1, before
            raise

    def handle(self, client: Any, address: Any) -> None:
        """Serve one connection to its end."""
        try:
            self._serve(client, address)
        finally:
            self._left += 1
            self._hold(self._worker_load.own - 1)
            if not self._worker_load.own and self.started:
                self._batch_delay.end()
                self._done(self._taken, self._clock() - self._began)
                self.start_accepting()

    def _start_accepting_if_started(self, _event: Any = None) -> None:
        """Go on after an error, but not while a round is under way."""
        if not self._worker_load.own:
            super()._start_accepting_if_started(_event)

    def close(self) -> None:
        """Take no more connections."""
        self._batch_delay.end()
        self._worker_load.leave()
        super().close()

    def _hold(self, count: int) -> None:
        if self.started:
            self._worker_load.hold(count)
        else:
            self._worker_load.own = count


def _is_plain(client: Any, *, unread: bool) -> bool:
    """Return whether another request may be taken beside this one; ``unread`` if nothing is there.

    Not beside one that nginx sends again because a worker died, which may kill this one too; nor
    beside one of which that is not known yet.
    """
    try:
        # Never waits; the request's own reader sees it again.
        head = client._sock.recv(_PEEKED, socket.MSG_PEEK | socket.MSG_DONTWAIT)  # noqa: SLF001
    except BlockingIOError:
        return unread
    except OSError:
        return False
    start, end, _rest = head.partition(b"\r\n\r\n")
    return bool(end) and _AGAIN not in start + b"\r\n"
