"""Accept requests from a release's socket in rounds: one request, and those that wait behind it.

A worker accepts a round only when it has no request in flight. So a worker can be replaced between
two rounds without losing requests, as between two requests.

A round does not wait for requests: it contains those that are in the kernel's queue, as many as
:mod:`mms_server.overload.worker_load` allows. With a batch delay, requests that come within that
time join the round, as long as no other worker is idle.
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
"""Serves a connection: client socket and address."""

Done = Callable[[int, float], None]
"""Gets the number of requests of a round and the seconds that it took."""


class RoundIntake(StreamServer):  # type: ignore[misc]
    """A server that accepts rounds of at most ``max_batch`` connections.

    After each round ``done`` gets the number of requests and the seconds from the first to the last
    answer.
    """

    max_accept = 1

    def __init__(
        self,
        listener: Any,
        serve: Serve,
        worker_load: WorkerLoad,
        max_batch: int,
        *,
        done: Done,
        batch_delay: BatchDelay | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._serve = serve
        self._worker_load = worker_load
        self._max_batch = max_batch
        self._done = done
        self._batch_delay = batch_delay or BatchDelay(0)
        self._clock = clock
        self._began = 0.0
        self._accepted = self._answered = 0
        self._newest: Any = None
        super().__init__(listener, spawn=Pool(max_batch))

    def _do_read(self) -> None:
        """Accept a round, or more requests for an open one; called when a connection waits."""
        if not self._batch_delay.open:
            self._began = self._clock()
            self._accepted, self._answered, self._newest = 0, 0, None
            # Before accepting, because another worker may have woken up for the same connection and
            # must not count this worker as idle.
            self._publish_load(1)
            self._accept_one()
        # _may_accept_more reads the head of the newest request only if there is room for another.
        while self._may_accept_more() and self._accept_one():
            pass
        self._publish_load(self._accepted - self._answered)
        if not self._accepted:
            return
        if self._batch_delay.open:
            # A connection that must not join the round would wake this worker up again at once.
            if not self._may_accept_more():
                self._batch_delay.end()
        elif self._batch_delay.delay_s and self._has_room():
            self._batch_delay.begin(self.stop_accepting)
        else:
            self.stop_accepting()

    def _has_room(self) -> bool:
        return self._accepted < self._worker_load.most(self._max_batch)

    def _may_accept_more(self) -> bool:
        """Return whether another request may join the round."""
        if not self._accepted or not self._has_room():
            return False
        # In an open round the newest request may have been read already: its socket is empty then.
        return _allows_company(self._newest, if_empty=self._batch_delay.open)

    def _accept_one(self) -> bool:
        """Accept one connection; return whether there was one."""
        before = self._accepted
        super()._do_read()
        return self._accepted > before

    def do_handle(self, *args: Any) -> None:
        """Start to serve an accepted connection, in a greenlet of its own."""
        before = self._newest
        self._accepted, self._newest = self._accepted + 1, args[0]
        self._publish_load(self._accepted - self._answered)
        try:
            super().do_handle(*args)
        except BaseException:
            self._accepted, self._newest = self._accepted - 1, before
            raise

    def handle(self, client: Any, address: Any) -> None:
        """Serve one connection; after the last one of a round, accept the next round."""
        try:
            self._serve(client, address)
        finally:
            self._answered += 1
            self._publish_load(self._worker_load.own - 1)
            if not self._worker_load.own and self.started:
                self._batch_delay.end()
                self._done(self._accepted, self._clock() - self._began)
                self.start_accepting()

    def _start_accepting_if_started(self, _event: Any = None) -> None:
        """Accept again after an error, but not while requests of a round are in flight."""
        if not self._worker_load.own:
            super()._start_accepting_if_started(_event)

    def close(self) -> None:
        """Accept no more connections."""
        self._batch_delay.end()
        self._worker_load.leave()
        super().close()

    def _publish_load(self, count: int) -> None:
        """Set the number of requests in flight; a closed server must not show up again."""
        if self.started:
            self._worker_load.hold(count)
        else:
            self._worker_load.own = count


def _allows_company(client: Any, *, if_empty: bool) -> bool:
    """Return whether another request may join the round of this one.

    A request that nginx sends again, because a worker died, stays alone: it may kill this worker
    too. A request whose head is not complete yet stays alone as well, because it may be such a one.
    ``if_empty`` is the answer for a socket without data.
    """
    try:
        # This does not wait, and leaves the data in the socket for the request's reader.
        head = client._sock.recv(_PEEKED, socket.MSG_PEEK | socket.MSG_DONTWAIT)  # noqa: SLF001
    except BlockingIOError:
        return if_empty
    except OSError:
        return False
    start, end, _rest = head.partition(b"\r\n\r\n")
    return bool(end) and _AGAIN not in start + b"\r\n"
