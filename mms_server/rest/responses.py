"""The form of all answers, whatever the route (compatibility.md, 7.3, 7.4 and 7.5).

A successful answer is JSON with sorted keys, or the bytes that a route returns.
:mod:`mms_server.rest.error_responses` has the form of errors. Every answer has the CORS headers and
a request id.
"""

from __future__ import annotations

import functools
import json
import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import bottle

from mms_server.core import errors, refusals
from mms_server.core.refusals import Refusal
from mms_server.core.request_body import drain
from mms_server.core.request_id import NewId, request_id, set_request_id
from mms_server.metrics import stage_timing
from mms_server.rest.error_responses import Failure, render

MAX_ANSWER_BYTES: Final = 256 * 1024 * 1024
"""Largest answer: to write a larger one as JSON takes several times its size in memory."""

_INTERNAL = (
    "The server encountered an internal error and was unable to complete your request."
    "  Either the server is overloaded or there is an error in the application."
)
_CORS_METHODS = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"
_METHOD_NOT_ALLOWED = 405

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Raw:
    """An answer that a route made itself; it is sent as it is."""

    body: bytes
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)


class ErrorPage(bottle.HTTPError):  # type: ignore[misc]
    """An error page of a row of the table of refusals."""

    def __init__(self, refusal: Refusal, text: str, retry_after_s: int = 1) -> None:
        super().__init__(refusal.status, text)
        self.refusal = refusal
        if refusal.retry_after:
            self.set_header("Retry-After", str(retry_after_s))


def bottle_app(new_id: NewId = lambda: uuid.uuid4().hex) -> Any:
    """Return a Bottle application without routes that answers as 0.4 did.

    A route's callback returns an object that JSON can write, or :class:`Raw`. It may raise any
    :class:`mms_server.core.errors.MMSError`.
    """
    app = bottle.Bottle()
    app.config["json.enable"] = False
    app.install(_answer)
    app.default_error_handler = _error_page
    app.add_hook("before_request", functools.partial(set_request_id, new_id))
    app.add_hook("after_request", _finish)
    return app


def json_body(answer: object) -> bytes:
    """Return ``answer`` as JSON with sorted keys and a final newline.

    Raises:
        ValueError: a number is not finite, which JSON cannot write.
        TypeError: an object is of no JSON type.
    """
    text = json.dumps(answer, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode() + b"\n"


def encode(answer: object) -> Raw:
    """Return what a route returned as it is sent: :class:`Raw` as it is, other objects as JSON.

    Raises:
        PredictionError: the answer is too long.
        ValueError: a number is not finite, which JSON cannot write.
        TypeError: an object is of no JSON type.
    """
    if isinstance(answer, Raw):
        bounded(answer.body)
        return answer
    return Raw(json_body(bounded(answer)), "application/json")


def bounded(answer: Any) -> Any:
    """Return ``answer``, unless its bytes or its text alone are longer than an answer may be.

    The check comes before the answer is written as JSON, since that would stop the whole worker for
    seconds.

    Raises:
        PredictionError: the answer is too long.
    """
    left, pending = MAX_ANSWER_BYTES, [answer]
    while pending:
        one = pending.pop()
        if isinstance(one, str | bytes):
            left -= len(one)
        elif isinstance(one, Mapping):
            pending.extend(one.values())
        elif isinstance(one, list | tuple) and one:
            # For a list of numbers the length is enough.
            left -= len(one)
            if not isinstance(one[0], int | float):
                pending.extend(one)
        if left < 0:
            raise _too_large()
    return answer


def _too_large() -> errors.PredictionError:
    return errors.PredictionError(
        f"The model's answer is longer than {MAX_ANSWER_BYTES} bytes.",
        fix="let the model answer less, for instance its best classes only.",
    )


def _answer(callback: Callable[..., object]) -> Callable[..., Any]:
    """Turn what a route returns or raises into an answer: one path for all errors.

    An error becomes a new page that is returned, not raised: Bottle keeps a raised page in a cycle
    with its traceback, which holds the request's body until the garbage collector runs.
    """

    @functools.wraps(callback)
    def answered(*args: object, **kwargs: object) -> Any:
        try:
            answer = encode(callback(*args, **kwargs))
        except bottle.HTTPResponse:
            raise
        except errors.RequestError as error:
            return ErrorPage(refusals.of_error(error), str(error), error.retry_after_s)
        except Exception:  # noqa: BLE001 - logged; the client gets the page for any error
            _log.exception("request %s failed", request_id())
            return ErrorPage(refusals.FAILED, _INTERNAL)
        else:
            for name, value in answer.headers.items():
                bottle.response.set_header(name, value)
            bottle.response.content_type = answer.content_type
            return answer.body

    return answered


def _finish() -> None:
    drain(bottle.request.environ)
    response, environ = bottle.response, bottle.request.environ
    origin = environ.get("HTTP_ORIGIN", "")
    response.set_header("Access-Control-Allow-Origin", origin or "*")
    if origin:
        response.set_header("Vary", "Origin")
    response.set_header("X-Request-Id", request_id())
    taken = environ.get(stage_timing.ENVIRON_KEY)
    if taken:
        response.set_header("Server-Timing", stage_timing.server_timing(taken.seconds))


def _error_page(error: Any) -> bytes:
    code, environ = int(error.status_code), bottle.request.environ
    if code == _METHOD_NOT_ALLOWED:
        bottle.response.set_header("Allow", _allow(str(error.headers.get("Allow", ""))))
        if bottle.request.method == "OPTIONS":
            return preflight()
    name = error.status_line.partition(" ")[2]
    refusal = error.refusal if isinstance(error, ErrorPage) else refusals.of_status(code)
    failure = Failure(refusal, code, name, _text_of(error, code, name), request_id())
    kind, body = render(failure, environ.get("PATH_INFO", ""), environ.get("HTTP_ACCEPT", ""))
    bottle.response.content_type = kind
    return body


def _text_of(error: Any, code: int, name: str) -> str:
    if code == _METHOD_NOT_ALLOWED:
        return f"{bottle.request.method} is not allowed here; see Allow."
    return str(error.body or name)


def _allow(methods: str) -> str:
    return "HEAD, OPTIONS, GET" if "GET" in methods else "POST, OPTIONS"


def preflight() -> bytes:
    """Answer OPTIONS: with the CORS headers of a preflight (compatibility.md, 7.5)."""
    environ, response = bottle.request.environ, bottle.response
    response.status = 200
    if environ.get("HTTP_ACCESS_CONTROL_REQUEST_METHOD"):
        response.set_header("Access-Control-Allow-Methods", _CORS_METHODS)
        wanted = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS")
        if wanted:
            response.set_header("Access-Control-Allow-Headers", wanted)
    return b""
