"""Gunicorn's gevent worker, with buffered answers and heartbeats that prove progress.

Gunicorn sends the head of an answer and then its body. If a worker is killed between the two, nginx
has already passed on the head and cannot retry with another worker. Here one system call sends head
and body. So an answer that fits the socket's buffer is sent completely or not at all.

Gunicorn's heartbeat shows that gevent's hub runs. Here it carries the time of the engine's last
completed forward, so the master also ends a worker whose engine hangs.
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

# A Unix socket takes about 200 kB in one call (net.core.wmem_default); larger answers need several.
MAX_BUFFERED_BYTES: Final = 128 * 1024

LOAD_LIMIT_S: Final = 600.0
"""The longest load in a worker that loads its model itself; its heartbeat continues until then."""

LIFECYCLE: Final = "lifecycle"
"""The attribute of an application with its :class:`WorkerLifecycle`."""


class BufferedConnection:
    """A connection that buffers data until ``flush``, ``shutdown``, ``close``, or 128 KiB."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._buffer: list[bytes] = []
        self._size = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def sendall(self, data: bytes) -> None:
        """Add ``data`` to the buffer."""
        self._buffer.append(data)
        self._size += len(data)
        if self._size > MAX_BUFFERED_BYTES:
            self.flush()

    def flush(self) -> None:
        """Send the buffer by one call.

        Raises:
            OSError: the peer has closed the connection.
        """
        data, self._buffer, self._size = b"".join(self._buffer), [], 0
        if data:
            self._connection.sendall(data)

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
    """The worker class of releases, and of the standalone server, which has no lifecycle."""

    stack: int | None = None
    """The descriptor of the file for the stacks of a crash; set after the fork."""

    lifecycle: WorkerLifecycle | None = None
    slot: int = 0
    alive: bool
    worker_connections: int
    sockets: list[Any]
    server_class: Any = None

    def patch(self) -> None:
        """Patch the rest of the standard library, and make the listening sockets gevent's."""
        # The master has patched all modules but those for child processes.
        monkey.patch_os()
        monkey.patch_subprocess()
        monkey.patch_signal()
        self.sockets = [
            socket.socket(listener.FAMILY, socket.SOCK_STREAM, fileno=listener.sock.detach())
            for listener in self.sockets
        ]

    def init_signals(self) -> None:
        """Let a crash, and the master's SIGABRT, dump the stacks of all threads."""
        # Registered after gunicorn's handlers: the last handler runs first, and calls the others.
        stack_dumps.stop()
        super().init_signals()
        if self.stack is not None:
            stack_dumps.start(self.stack)

    def load_wsgi(self) -> None:
        """Load the application; without preload it may take longer than the heartbeat's timeout."""
        with _keep_heartbeat(self):
            super().load_wsgi()
        self.lifecycle = getattr(self.wsgi, LIFECYCLE, None)
        if self.lifecycle:
            self.lifecycle.begin(self.slot)
            if self.worker_connections == 1:
                self.server_class = partial(_make_intake, self, self.lifecycle.intake)

    def notify(self) -> None:
        """Set the heartbeat to the time of the engine's last progress."""
        super().notify()
        # While the worker ends, gunicorn's graceful timeout limits it.
        if self.lifecycle and self.alive:
            last_progress = self.lifecycle.last_progress(float(self.cfg.timeout))
            os.utime(self.tmp.fileno(), (last_progress, last_progress))

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serve one connection."""
        super().handle(listener, BufferedConnection(client), addr)

    def handle_request(
        self, listener_name: Any, req: Any, sock: BufferedConnection, addr: Any
    ) -> None:
        """Serve one request of a connection; its answer is sent when this returns."""
        try:
            super().handle_request(listener_name, req, sock, addr)
        finally:
            sock.flush()
            if self.lifecycle:
                self._exit_if_due(self.lifecycle)

    def _exit_if_due(self, lifecycle: WorkerLifecycle) -> None:
        """End the worker if it is stuck or has outgrown its memory; its answer is sent."""
        if lifecycle.stuck:
            # Its other requests would fail. nginx retries them with another worker.
            end_now(0)
        if not self.alive or not lifecycle.must_exit():
            return
        if self.worker_connections != 1:
            self.alive = False
        elif lifecycle.intake.worker_load.own <= 1:
            # No other request is in flight, so a graceful stop, which may accept more, has no use.
            self.alive = False
            lifecycle.leave()
            end_now(0)


def _make_intake(
    worker: Worker, limits: IntakeLimits, listener: Any, **_others: Any
) -> RoundIntake:
    """Return a worker's intake in place of gevent's server; it ignores other arguments."""

    def done(requests: int, seconds: float) -> None:
        backlog = limits.backlog.record(requests, seconds)
        # While the worker ends, its master sets the backlog.
        if backlog is not None and worker.alive:
            set_backlog([listener], backlog)

    return RoundIntake(
        listener,
        partial(worker.handle, listener),
        limits.worker_load,
        limits.max_requests,
        done=done,
        batch_delay=limits.batch_delay,
    )


@contextmanager
def _keep_heartbeat(worker: Any, limit_s: float = LOAD_LIMIT_S) -> Iterator[None]:
    """Send a worker's heartbeats within the context, for a limited time."""
    done: list[bool] = []
    until = time.monotonic() + limit_s

    def beat() -> None:
        while not done and time.monotonic() < until:
            worker.tmp.notify()
            monkey.get_original("time", "sleep")(1.0)

    # A native thread: gevent's hub does not run while a model loads.
    monkey.get_original("_thread", "start_new_thread")(beat, ())
    try:
        yield
    finally:
        done.append(True)
