"""How this server answers, whatever the route (contract, sections 7.3, 7.4 and 7.5).

Successful answers are JSON with sorted keys, or bytes that a route made; how errors look is said in
:mod:`mms_server.rest.error_responses`; every answer carries the CORS headers and a request id.
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

from mms_server.core import errors
from mms_server.core.error_status import SERVER_ERROR, status_of
from mms_server.core.request_body import drain
from mms_server.core.request_id import NewId, request_id, set_request_id
from mms_server.metrics import stage_timing
from mms_server.rest.error_responses import Failure, render

MAX_ANSWER_BYTES: Final = 256 * 1024 * 1024
"""Largest answer: beyond, what makes it would take the worker's memory several times over."""

_INTERNAL = (
    "The server encountered an internal error and was unable to complete your request."
    "  Either the server is overloaded or there is an error in the application."
)
_CORS_METHODS = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"
_METHOD_NOT_ALLOWED = 405

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Raw:
    """An answer that is no JSON of ours: sent as it is."""

    body: bytes
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)


def contract_app(new_id: NewId = lambda: uuid.uuid4().hex) -> Any:
    """Return a Bottle application without routes that answers as the contract says.

    Route callbacks return a JSON-able object or :class:`Raw`; they may raise any
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
        ValueError: a number is not finite: JSON has no word for it.
        TypeError: something is no JSON type.
    """
    text = json.dumps(answer, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode() + b"\n"


def bounded(answer: Any) -> Any:
    """Return ``answer``, unless its bytes or its text alone are longer than an answer may be.

    Looked at before it is JSON: to make that would stop the whole worker for seconds.

    Raises:
        PredictionError: it is too long.
    """
    left, pending = MAX_ANSWER_BYTES, [answer]
    while pending:
        one = pending.pop()
        if isinstance(one, str | bytes):
            left -= len(one)
        elif isinstance(one, Mapping):
            pending.extend(one.values())
        elif isinstance(one, list | tuple) and one:
            # Of a list of numbers the length says enough.
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

    An error becomes a fresh page that is returned, not raised: Bottle keeps what was raised in a
    cycle with its traceback, and with it the request's body, until the collector comes by.
    """

    @functools.wraps(callback)
    def answered(*args: object, **kwargs: object) -> Any:
        try:
            answer = callback(*args, **kwargs)
            kind = answer.content_type if isinstance(answer, Raw) else "application/json"
            body = bounded(answer.body) if isinstance(answer, Raw) else json_body(bounded(answer))
        except bottle.HTTPResponse:
            raise
        except errors.RequestError as error:
            status, text, retry_after_s = status_of(error), str(error), error.retry_after_s
        except Exception:  # noqa: BLE001 - logged; the client gets the page for any error
            _log.exception("request %s failed", request_id())
            status, text, retry_after_s = SERVER_ERROR, _INTERNAL, 0
        else:
            if isinstance(answer, Raw):
                for name, value in answer.headers.items():
                    bottle.response.set_header(name, value)
            bottle.response.content_type = kind
            return body
        page = bottle.HTTPError(status, text)
        if retry_after_s:
            page.set_header("Retry-After", str(retry_after_s))
        return page

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
    failure = Failure(code, name, _text_of(error, code, name), request_id())
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
    """Answer OPTIONS: with the CORS headers of a preflight (contract, section 7.5)."""
    environ, response = bottle.request.environ, bottle.response
    response.status = 200
    if environ.get("HTTP_ACCESS_CONTROL_REQUEST_METHOD"):
        response.set_header("Access-Control-Allow-Methods", _CORS_METHODS)
        wanted = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS")
        if wanted:
            response.set_header("Access-Control-Allow-Headers", wanted)
    return b""
