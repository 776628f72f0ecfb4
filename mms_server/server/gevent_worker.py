"""Gunicorn's gevent worker, with answers that leave in one piece and a heartbeat that is true.

Gunicorn sends the head of an answer and then its body. When a worker is killed between the two,
nginx has passed the head on already and cannot ask another worker. Sent by one system call, an
answer that fits the socket's buffer has left entirely or not at all.

Gunicorn's heartbeat says that the hub runs. Here it says when the engine was last proven alive, so
that a worker whose engine hangs is ended as well.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from gevent import monkey, socket
from gunicorn.workers.ggevent import GeventWorker

from mms_server.crashes import stack_dumps
from mms_server.inference.batching.intake import RoundIntake
from mms_server.overload.backlog_limit import set_backlog
from mms_server.server.process_exit import end_now
from mms_server.server.worker_lifecycle import IntakeLimits, WorkerLifecycle

# A Unix socket takes about 200 kB at once (net.core.wmem_default); a larger answer cannot be whole.
MAX_HELD_BYTES: Final = 128 * 1024

LOAD_LIMIT_S: Final = 600.0
"""Longest load in a worker that loads its model itself: until then its heartbeat goes on."""

LIFE: Final = "life"
"""The attribute of an application that holds its :class:`WorkerLifecycle`."""


class WholeAnswer:
    """A connection that holds back what is sent until ``flush``, ``close`` or 128 KiB."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._held: list[bytes] = []
        self._size = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def sendall(self, data: bytes) -> None:
        """Keep ``data`` for the next flush."""
        self._held.append(data)
        self._size += len(data)
        if self._size > MAX_HELD_BYTES:
            self.flush()

    def flush(self) -> None:
        """Send what is held, by one call.

        Raises:
            OSError: the other side is gone.
        """
        held, self._held, self._size = b"".join(self._held), [], 0
        if held:
            self._connection.sendall(held)

    def shutdown(self, how: int) -> None:
        """Flush, then shut down."""
        self.flush()
        self._connection.shutdown(how)

    def close(self) -> None:
        """Flush, then close."""
        try:
            self.flush()
        finally:
            self._connection.close()


class Worker(GeventWorker):  # type: ignore[misc]
    """The worker class of releases and of the standalone server, which has no life."""

    stack: int | None = None
    """Descriptor of the file for the stack of a crash; set after the fork."""

    life: WorkerLifecycle | None = None
    slot: int = 0
    alive: bool
    worker_connections: int
    sockets: list[Any]
    server_class: Any = None

    def patch(self) -> None:
        """Let gevent have the rest of the standard library, and the sockets."""
        # The master has not patched what has to do with children; all else is patched already.
        monkey.patch_os()
        monkey.patch_subprocess()
        monkey.patch_signal()
        self.sockets = [
            socket.socket(row.FAMILY, socket.SOCK_STREAM, fileno=row.sock.detach())
            for row in self.sockets
        ]

    def init_signals(self) -> None:
        """Let a crash, and the master's SIGABRT, leave the stacks of all threads."""
        # Not before gunicorn's: what comes last is asked first, and hands over.
        stack_dumps.stop()
        super().init_signals()
        if self.stack is not None:
            stack_dumps.start(self.stack)

    def load_wsgi(self) -> None:
        """Load the application; one that is not preloaded may take longer than a heartbeat."""
        with _beating(self):
            super().load_wsgi()
        self.life = getattr(self.wsgi, LIFE, None)
        if self.life:
            self.life.begin(self.slot)
            if self.worker_connections == 1:
                self.server_class = partial(_rounds, self, self.life.intake)

    def notify(self) -> None:
        """Tell the master when the engine was last proven alive."""
        super().notify()
        # While the worker ends, its own limits count.
        if self.life and self.alive:
            last_progress = self.life.last_progress(float(self.cfg.timeout))
            os.utime(self.tmp.fileno(), (last_progress, last_progress))

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serve one connection."""
        super().handle(listener, WholeAnswer(client), addr)

    def handle_request(self, listener_name: Any, req: Any, sock: WholeAnswer, addr: Any) -> None:
        """Serve one request of a connection; its answer has left when this returns."""
        try:
            super().handle_request(listener_name, req, sock, addr)
        finally:
            sock.flush()
            if self.life:
                self._leave_if_due(self.life)

    def _leave_if_due(self, life: WorkerLifecycle) -> None:
        """End a worker that is stuck or has outgrown its memory; its answer has left."""
        if life.stuck:
            # It could only fail other requests; they are sent again, to another worker.
            end_now(0)
        if not self.alive or not life.must_exit():
            return
        if self.worker_connections != 1:
            self.alive = False
        elif life.intake.worker_load.own <= 1:
            # Nothing else is in flight, so nothing is gained by taking more for a while.
            self.alive = False
            life.leave()
            end_now(0)


def _rounds(worker: Worker, intake: IntakeLimits, listener: Any, **_others: Any) -> RoundIntake:
    """Return the server of a worker: gunicorn gives more than it needs."""

    def done(requests: int, seconds: float) -> None:
        backlog = intake.backlog.record(requests, seconds)
        # While the worker ends, its master lets requests wait.
        if backlog is not None and worker.alive:
            set_backlog([listener], backlog)

    serve = partial(worker.handle, listener)
    batch_delay = intake.batch_delay
    return RoundIntake(
        listener, serve, intake.worker_load, intake.most, done=done, batch_delay=batch_delay
    )


@contextmanager
def _beating(worker: Any, limit_s: float = LOAD_LIMIT_S) -> Iterator[None]:
    """Keep a worker's heartbeat going, for a limited time."""
    done: list[bool] = []
    until = time.monotonic() + limit_s

    def beat() -> None:
        while not done and time.monotonic() < until:
            worker.tmp.notify()
            monkey.get_original("time", "sleep")(1.0)

    # A native thread: the hub does not run while a model is loaded.
    monkey.get_original("_thread", "start_new_thread")(beat, ())
    try:
        yield
    finally:
        done.append(True)
