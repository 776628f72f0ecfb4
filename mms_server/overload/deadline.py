"""How long a request has waited, how long its client will, and whether it is still there.

Workers take requests from the kernel's queue, of which they see nothing but the time that it took.
nginx tells in a header when it passed a request on and how long it had it before; what cannot be
answered in the client's time is refused before the engine computes it, so that under overload the
engine's time goes to answers that somebody waits for.
"""

from __future__ import annotations

import math
import re
import select
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gevent import monkey

from mms_server.config.model_settings import MOST_TIMEOUT_MS
from mms_server.core.errors import BadInputError, LateError

TIMES_KEY: Final = "HTTP_X_MMS_TIMES"
"""nginx's ``$msec $request_time``: Unix time, and the seconds since the request's first byte."""

TIMEOUT_KEY: Final = "HTTP_X_REQUEST_TIMEOUT_MS"
QUEUED_S: Final = 0.005
"""A request that waited less was in no queue: nginx's clock has milliseconds."""

_TIMES: Final = re.compile(r"(\d{1,12}\.\d{3}) (\d{1,6}\.\d{3})")
_MOST_S: Final = 86_400.0
_SMOOTHING: Final = 0.2


def timeout_s(environ: Mapping[str, Any], default_s: float) -> float:
    """Return how many seconds the client waits for its answer; 0 is no limit.

    Raises:
        BadInputError: it says so in other words than whole milliseconds.
    """
    text = str(environ.get(TIMEOUT_KEY, "")).strip()
    if not text:
        return default_s
    if text.isascii() and text.isdigit() and len(text) <= len(str(MOST_TIMEOUT_MS)):
        given = int(text)
        if 0 < given <= MOST_TIMEOUT_MS:
            return given / 1000
    raise BadInputError(
        "X-Request-Timeout-Ms is not a time that can be kept.",
        fix=f"send a whole number of milliseconds, 1 to {MOST_TIMEOUT_MS}.",
    )


@dataclass(frozen=True)
class WaitTimes:
    """Seconds until a worker took the request: in the queue, and since its first byte."""

    queue_s: float = 0.0
    total_s: float = 0.0


def waited(environ: Mapping[str, Any], now: float) -> WaitTimes:
    """Return what nginx and the clock tell; ``now`` is Unix time. Without nginx it is nothing."""
    found = _TIMES.fullmatch(str(environ.get(TIMES_KEY, "")))
    if not found:
        return WaitTimes()
    # A clock that was set in between must not give a negative time.
    queue_s = min(max(now - float(found[1]), 0.0), _MOST_S)
    return WaitTimes(queue_s, queue_s + float(found[2]))


def client_gone(environ: Mapping[str, Any]) -> bool:
    """Return whether the other side of the connection is closed; nginx does so after its client.

    A client that only says that it sends no more is not gone.
    """
    connection = environ.get("gunicorn.socket")
    if connection is None:
        return False
    # The original: gevent's would switch to others, and this may run in the engine's thread.
    poll = monkey.get_original("select", "poll")()
    try:
        poll.register(connection.fileno(), 0)
        return any(event & select.POLLHUP for _fd, event in poll.poll(0))
    except (OSError, ValueError):
        return True


class ServiceRate:
    """How fast a worker answers: the mean of its last requests, the newest counting most.

    ``workers`` share the queue.
    """

    def __init__(self, workers: int = 1) -> None:
        self._workers = workers
        self.request_s = 0.0

    def computed(self, seconds: float) -> None:
        """Take note of the time that the engine took for a request."""
        before = self.request_s
        self.request_s = before + _SMOOTHING * (seconds - before) if before else seconds

    @property
    def rate(self) -> float:
        """Requests that all workers answer in a second, 0 if that is not known."""
        return self._workers / self.request_s if self.request_s else 0.0

    def check(self, times: WaitTimes, limit_s: float) -> None:
        """Refuse a request that cannot be answered within ``limit_s``; 0 is no limit.

        One that came without waiting is computed even if requests have taken longer than its limit
        lately: else nobody would learn that they do no more.

        Raises:
            LateError: with the seconds after which the queue, as it is, has been worked off.
        """
        queued = times.queue_s >= QUEUED_S
        expected_s = times.total_s + (self.request_s if queued else 0.0)
        if not limit_s or expected_s < limit_s:
            return
        raise LateError(
            waited_s=times.total_s,
            limit_s=limit_s,
            depth=round(times.queue_s * self.rate),
            rate=self.rate,
            retry_after_s=max(1, math.ceil(times.queue_s)),
        )
