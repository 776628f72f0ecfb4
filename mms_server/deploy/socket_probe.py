"""A health probe of a release on its own Unix socket, whether it is live or not.

The kernel hands out a socket's connections in their order of arrival. So when a probe of a replaced
release is answered, the release has accepted all requests that waited before it. Then it can be
stopped: it ends after the requests that it has accepted.
"""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from mms_server.core.errors import ProbeError

_POLL_S: Final = 0.05
_OK: Final = 200

Probe = Callable[[Path, str, float], None]


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, deadline: float, clock: Callable[[], float]) -> None:
        super().__init__("localhost")
        self._path = path
        self._deadline = deadline
        self._clock = clock

    def connect(self) -> None:
        """Connect; if the backlog is full, which fails at once, try again until the deadline."""
        while True:
            remaining_s = self._deadline - self._clock()
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(max(remaining_s, _POLL_S))
            try:
                self.sock.connect(str(self._path))
            except BlockingIOError:
                self.sock.close()
                if remaining_s <= 0:
                    raise
                time.sleep(_POLL_S)
            else:
                return


def probe(
    path: Path, model: str, timeout_s: float, clock: Callable[[], float] = time.monotonic
) -> None:
    """Return when ``GET /<model>/ping`` on the socket ``path`` was answered with 200.

    Raises:
        ProbeError: there was no such answer within ``timeout_s`` seconds.
    """
    connection = _UnixConnection(path, clock() + timeout_s, clock)
    try:
        connection.request("GET", f"/{model}/ping", headers={"Connection": "close"})
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException) as error:
        text = str(error) or type(error).__name__
        cause = f"{path} did not answer GET /{model}/ping within {timeout_s:.0f} s: {text}."
        raise ProbeError(cause, fix="see the journal of the release.") from error
    finally:
        connection.close()
    if answer.status != _OK:
        cause = f"{path} answered GET /{model}/ping with {answer.status} {answer.reason}."
        raise ProbeError(cause, fix="see the journal of the release.")
