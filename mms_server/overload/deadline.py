"""Deadlines: how long a request has waited, its time limit, and whether its client is still there.

Requests wait in the kernel's queue, where workers cannot see them. A header of nginx tells when
nginx passed a request on, and how long nginx had it before. A request that cannot be answered
before its deadline is refused before the engine computes it. So under overload the engine computes
only answers that a client still waits for.
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
"""A request that waited less did not queue: nginx's clock has a resolution of milliseconds."""

_TIMES: Final = re.compile(r"(\d{1,12}\.\d{3}) (\d{1,6}\.\d{3})")
_MOST_S: Final = 86_400.0
_SMOOTHING: Final = 0.2


def timeout_s(environ: Mapping[str, Any], default_s: float) -> float:
    """Return the time limit of a request in seconds; 0 is no limit.

    Raises:
        BadInputError: the header is not a whole number of milliseconds within its bounds.
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
    """Seconds until a worker took the request: in the queue, and since the first byte."""

    queue_s: float = 0.0
    total_s: float = 0.0


def waited(environ: Mapping[str, Any], now: float) -> WaitTimes:
    """Return the times from nginx's header; zeros without nginx. ``now`` is Unix time."""
    found = _TIMES.fullmatch(str(environ.get(TIMES_KEY, "")))
    if not found:
        return WaitTimes()
    # The clock may have been set meanwhile: no negative time.
    queue_s = min(max(now - float(found[1]), 0.0), _MOST_S)
    return WaitTimes(queue_s, queue_s + float(found[2]))


def client_gone(environ: Mapping[str, Any]) -> bool:
    """Return whether the peer closed the connection; nginx closes it when its client does.

    A client that shut down only its sending side is not gone.
    """
    connection = environ.get("gunicorn.socket")
    if connection is None:
        return False
    # The unpatched poll: gevent's switches greenlets, and this may run in the engine's thread.
    poll = monkey.get_original("select", "poll")()
    try:
        poll.register(connection.fileno(), 0)
        return any(event & select.POLLHUP for _fd, event in poll.poll(0))
    except (OSError, ValueError):
        return True


class ServiceRate:
    """How fast a worker answers: a moving average over its last requests.

    ``workers`` share the queue.
    """

    def __init__(self, workers: int = 1) -> None:
        self._workers = workers
        self.request_s = 0.0

    def computed(self, seconds: float) -> None:
        """Record the time that the engine took for a request."""
        before = self.request_s
        self.request_s = before + _SMOOTHING * (seconds - before) if before else seconds

    @property
    def rate(self) -> float:
        """Requests that all workers answer in a second; 0 if that is not known."""
        return self._workers / self.request_s if self.request_s else 0.0

    def check(self, times: WaitTimes, limit_s: float) -> None:
        """Refuse a request that cannot be answered within ``limit_s``; 0 is no limit.

        A request that did not queue is computed even if the average is above its limit: else the
        average could never fall again.

        Raises:
            LateError: ``retry_after_s`` is the time in which the present queue is answered.
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
