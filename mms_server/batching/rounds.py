"""Take requests from a release's socket in rounds: one, and what waits beside it.

A round is taken only when the worker has nothing in hand, so between two rounds it may end without
losing anything, as between two requests. Nothing is waited for: a round is what is in the kernel's
queue at that moment, and as many of it as :class:`mms_server.batching.hands.Hands` allows.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any, Final

from gevent.pool import Pool
from gevent.server import StreamServer

from mms_server.batching.hands import Hands

_AGAIN: Final = b"\r\nX-Mms-Again: 1\r\n"
_PEEKED: Final = 16 * 1024

Serve = Callable[[Any, Any], None]
Done = Callable[[int, float], None]


class Rounds(StreamServer):  # type: ignore[misc]
    """Accepts at most ``most`` connections at a time; ``done`` is told their number and seconds."""

    max_accept = 1

    def __init__(
        self,
        listener: Any,
        serve: Serve,
        hands: Hands,
        most: int,
        *,
        done: Done,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._serve = serve
        self._hands = hands
        self._most = most
        self._done = done
        self._clock = clock
        self._began = 0.0
        super().__init__(listener, spawn=Pool(most))

    def _do_read(self) -> None:
        """Take a round; the event loop calls it when a connection waits."""
        self._began = self._clock()
        # Before the first is taken: another that wakes up as well must not count on this worker.
        self._hold(1)
        taken, last = self._take(0)
        # The last one's head is only looked at if there may be another.
        while last is not None and taken < self._hands.most(self._most) and _is_plain(last):
            taken, last = self._take(taken)
        self._hold(taken)
        if taken:
            self.stop_accepting()

    def _take(self, taken: int) -> tuple[int, Any]:
        """Accept one more; return how many there are now, and its connection, None if none."""
        self._last: Any = None
        self._taken = taken
        super()._do_read()
        return self._taken, self._last

    def do_handle(self, *args: Any) -> None:
        """Serve a connection that was accepted."""
        self._taken += 1
        self._last = args[0]
        self._hold(self._taken)
        try:
            super().do_handle(*args)
        except BaseException:
            self._taken, self._last = self._taken - 1, None
            raise

    def handle(self, client: Any, address: Any) -> None:
        """Serve one connection to its end."""
        try:
            self._serve(client, address)
        finally:
            self._hold(self._hands.own - 1)
            if not self._hands.own and self.started:
                self._done(self._taken, self._clock() - self._began)
                self.start_accepting()

    def _start_accepting_if_started(self, _event: Any = None) -> None:
        """Go on after an error, but not while a round is under way."""
        if not self._hands.own:
            super()._start_accepting_if_started(_event)

    def close(self) -> None:
        """Take no more connections."""
        self._hands.leave()
        super().close()

    def _hold(self, count: int) -> None:
        if self.started:
            self._hands.hold(count)
        else:
            self._hands.own = count


def _is_plain(client: Any) -> bool:
    """Return whether another request may be taken beside this one.

    Not beside one that nginx sends again because a worker died, which may kill this one too; nor
    beside one of which that is not known yet.
    """
    try:
        # Never waits; the request's own reader sees it again.
        head = client._sock.recv(_PEEKED, socket.MSG_PEEK | socket.MSG_DONTWAIT)  # noqa: SLF001
    except OSError:
        return False
    start, end, _rest = head.partition(b"\r\n\r\n")
    return bool(end) and _AGAIN not in start + b"\r\n"
