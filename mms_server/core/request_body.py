"""Read a request's body, within a limit of size and of time.

A body left unread makes the kernel reset the connection when it is closed, and the client then
loses the answer: what no route wanted is read and thrown away, for a limited time.
"""

from __future__ import annotations

from typing import Any

import gevent

from mms_server.core import errors

Environ = dict[str, Any]

BODY_KEY = "mms.body"
"""Where the environment keeps a body that was read."""

DRAIN_BYTES = 1024 * 1024 * 1024
READ_TIMEOUT_S = 60.0
DRAIN_TIMEOUT_S = 5.0

_CHUNK = 64 * 1024


def read(environ: Environ, limit: int, timeout_s: float = READ_TIMEOUT_S) -> bytes:
    """Return the body of a request.

    Raises:
        LengthRequiredError: it comes in chunks; a proxy in front declares a length.
        BodyTooLargeError: it is longer than ``limit`` bytes.
        RequestTimeoutError: it did not arrive within ``timeout_s``.
        BadInputError: it ended before its declared length.
    """
    if environ.get("HTTP_TRANSFER_ENCODING"):
        raise errors.LengthRequiredError(
            "A body in chunks is not accepted.", fix="send the request with a Content-Length."
        )
    length = _declared(environ)
    if length > limit:
        raise errors.BodyTooLargeError(
            f"The request body is {length} bytes, the limit is {limit} bytes.",
            fix="send less data.",
        )
    late = errors.RequestTimeoutError("The request body did not arrive in time.")
    try:
        with gevent.Timeout(timeout_s, late):
            data = environ["wsgi.input"].read(length) if length else b""
    except OSError:
        data = b""
    if len(data) < length:
        raise errors.BadInputError("The request body ended before its Content-Length.")
    environ[BODY_KEY] = bytes(data)
    return bytes(data)


def drain(environ: Environ, limit: int = DRAIN_BYTES, timeout_s: float = DRAIN_TIMEOUT_S) -> None:
    """Read what is left of a body and throw it away; give up quietly at a limit."""
    if not environ.get("HTTP_TRANSFER_ENCODING") and not _declared(environ):
        return
    left = limit
    try:
        with gevent.Timeout(timeout_s):
            while left > 0 and (chunk := environ["wsgi.input"].read(_CHUNK)):
                left -= len(chunk)
    except (gevent.Timeout, Exception):  # noqa: BLE001 - the answer matters, not this body
        return


def _declared(environ: Environ) -> int:
    text = environ.get("CONTENT_LENGTH") or "0"
    return int(text) if text.isascii() and text.isdigit() else 0
