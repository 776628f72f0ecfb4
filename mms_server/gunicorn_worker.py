"""Gunicorn's gevent worker, with answers that leave in one piece.

Gunicorn sends the head of an answer and then its body. When a worker is killed between the two,
nginx has passed the head on already and cannot ask another worker. Sent by one system call, an
answer that fits the socket's buffer has left entirely or not at all.
"""

from __future__ import annotations

from typing import Any, Final

from gunicorn.workers.ggevent import GeventWorker

# A Unix socket takes about 200 kB at once (net.core.wmem_default); a larger answer cannot be whole.
MAX_HELD_BYTES: Final = 128 * 1024


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
    """The worker class of releases and of the standalone server."""

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serve one connection."""
        super().handle(listener, WholeAnswer(client), addr)

    def handle_request(self, listener_name: Any, req: Any, sock: WholeAnswer, addr: Any) -> None:
        """Serve one request of a connection; its answer has left when this returns."""
        try:
            super().handle_request(listener_name, req, sock, addr)
        finally:
            sock.flush()
