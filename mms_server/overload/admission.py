"""Admission control: reject a request before it is queued if it would miss its deadline.

nginx asks the control application about each request that brings ``X-Request-Timeout-Ms``. A model
with a time limit of its own needs no question: :mod:`mms_server.overload.backlog_limit` keeps its
backlog so short that all requests in it are answered in time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import bottle

from mms_server.core.errors import BadInputError, LateError
from mms_server.overload import deadline
from mms_server.overload.deadline import QUEUED_S
from mms_server.overload.queue_delay import QueueDelay

MODEL_KEY: Final = "HTTP_X_MMS_MODEL"
_CHECK_API_KEY: Final = "HTTP_X_MMS_KEYS"
"""Set where nginx wants the API key checked too: it can ask only once for a request."""

# The answers that nginx's auth_request understands: yes, no, and no valid key.
_ADMITTED: Final = 204
_REJECTED: Final = 403
_NO_VALID_KEY: Final = 401

_PATHS: Final = (
    "/@admission",
    # nginx.conf of 0.1 asks by this name until `mms edge` has written the new one: remove in 0.3.
    "/@door",
)

ExpectedWait = Callable[[str], tuple[QueueDelay, int] | None]
"""Returns the queue delay of a model and its number of workers; None if it is not known."""


def rejection(expected: tuple[QueueDelay, int] | None, limit_s: float) -> LateError | None:
    """Return the error of a request that cannot be answered within ``limit_s``, else None."""
    if expected is None or not limit_s:
        return None
    found, workers = expected
    if found.queue_s < QUEUED_S or found.queue_s + found.request_s < limit_s:
        return None
    rate = workers / found.request_s if found.request_s else 0.0
    return LateError(
        waited_s=0.0,
        limit_s=limit_s,
        depth=round(found.queue_s * rate),
        rate=rate,
        retry_after_s=max(1, math.ceil(found.queue_s)),
        expected_s=found.queue_s + found.request_s,
    )


def current_rejection(expected: tuple[QueueDelay, int] | None) -> LateError | None:
    """Return :func:`rejection` for the request that Bottle is handling and its time limit."""
    try:
        limit_s = deadline.timeout_s(bottle.request.environ, 0.0)
    except BadInputError:
        # A worker answers with what is wrong with it.
        return None
    return rejection(expected, limit_s)


def admission_route(app: Any, expected_wait: ExpectedWait, check_key: Callable[[], bytes]) -> None:
    """Add the route that nginx asks before it passes on a request with a time limit."""

    def admit() -> bytes:
        environ, response = bottle.request.environ, bottle.response
        if environ.get(_CHECK_API_KEY):
            check_key()
            if response.status_code == _NO_VALID_KEY:
                return b""
        rejected = current_rejection(expected_wait(environ.get(MODEL_KEY, "")))
        response.status = _REJECTED if rejected else _ADMITTED
        return b""

    for path in _PATHS:
        app.get(path, callback=admit, skip=True)
