"""Whether a request can be answered in its client's time, before it waits: nginx asks here.

Only for requests that bring ``X-Request-Timeout-Ms``: the queue of a model with a time limit of its
own is no longer than what can be answered in it, so the kernel refuses the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, NoReturn

import bottle

from mms_server.core.errors import BadInputError, LateError
from mms_server.overload import deadline
from mms_server.overload.deadline import QUEUED_S
from mms_server.overload.queue_delay import QueueDelay

LATE: Final = 403
"""What nginx takes for a no; what its client is told is asked for apart."""

_UNKNOWN: Final = 401
MODEL_KEY: Final = "HTTP_X_MMS_MODEL"
KEYS_KEY: Final = "HTTP_X_MMS_KEYS"
"""nginx asks whether the key counts with it, which it can ask only once for a request."""

Expected = Callable[[str], tuple[QueueDelay, int] | None]
"""Returns what a model's requests wait for, and its workers; None if nothing is known."""


def refusal(expected: tuple[QueueDelay, int] | None, limit_s: float) -> LateError | None:
    """Return why a request with that limit cannot be answered in time, None if it may be."""
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


def refused(expected: tuple[QueueDelay, int] | None) -> LateError | None:
    """Return :func:`refusal` for the request that is being answered, by the time that it gives."""
    try:
        limit_s = deadline.timeout_s(bottle.request.environ, 0.0)
    except BadInputError:
        # A worker says what is wrong with it.
        return None
    return refusal(expected, limit_s)


def admission_route(app: Any, expected: Expected, check_key: Callable[[], bytes]) -> None:
    """Add what nginx asks before it passes a request with a time limit on."""

    def ask() -> bytes:
        environ, response = bottle.request.environ, bottle.response
        if environ.get(KEYS_KEY):
            check_key()
            if response.status_code == _UNKNOWN:
                return b""
        response.status = LATE if refused(expected(environ.get(MODEL_KEY, ""))) else 204
        return b""

    app.get("/@door", callback=ask, skip=True)


def raise_rejection(expected: tuple[QueueDelay, int] | None) -> NoReturn:
    """Tell a client why it was refused at the door.

    Raises:
        HTTPError: always.
    """
    error = refused(expected)
    # The queue may have become shorter in between: the client has been refused all the same.
    text = str(error) if error else "The queue was too long for the request's time limit."
    page = bottle.HTTPError(503, text)
    page.set_header("Retry-After", str(error.retry_after_s if error else 1))
    raise page
