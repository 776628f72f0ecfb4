"""Reading the body of a request, with limits on size and time.

When a connection is closed with an unread body, the kernel resets it, and the client loses the
answer. So :func:`drain` reads the rest of a body and discards it, for a limited time.
"""

from __future__ import annotations

from typing import Any

import gevent

from mms_server.core import errors

Environ = dict[str, Any]

BODY_KEY = "mms.body"
"""The key of a body that was read, in the WSGI environment."""

DRAIN_BYTES = 1024 * 1024 * 1024
READ_TIMEOUT_S = 60.0
DRAIN_TIMEOUT_S = 5.0

_CHUNK_BYTES = 64 * 1024


def read(environ: Environ, limit: int, timeout_s: float = READ_TIMEOUT_S) -> bytes:
    """Return the body of a request.

    Raises:
        LengthRequiredError: the body is chunked. Behind nginx it never is: nginx sends a length.
        BodyTooLargeError: the body is longer than ``limit`` bytes.
        RequestTimeoutError: the body did not arrive within ``timeout_s`` seconds.
        BadInputError: the body ended before its ``Content-Length``.
    """
    if environ.get("HTTP_TRANSFER_ENCODING"):
        raise errors.LengthRequiredError(
            "A body in chunks is not accepted.", fix="send the request with a Content-Length."
        )
    length = _content_length(environ)
    if length > limit:
        raise errors.BodyTooLargeError(
            f"The request body is {length} bytes, the limit is {limit} bytes.",
            fix="send less data.",
        )
    timeout_error = errors.RequestTimeoutError("The request body did not arrive in time.")
    try:
        with gevent.Timeout(timeout_s, timeout_error):
            data = environ["wsgi.input"].read(length) if length else b""
    except OSError:
        data = b""
    if len(data) < length:
        raise errors.BadInputError("The request body ended before its Content-Length.")
    environ[BODY_KEY] = bytes(data)
    return bytes(data)


def drain(environ: Environ, limit: int = DRAIN_BYTES, timeout_s: float = DRAIN_TIMEOUT_S) -> None:
    """Read the rest of a body and discard it, up to ``limit`` bytes and ``timeout_s`` seconds."""
    if not environ.get("HTTP_TRANSFER_ENCODING") and not _content_length(environ):
        return
    remaining = limit
    try:
        with gevent.Timeout(timeout_s):
            while remaining > 0 and (chunk := environ["wsgi.input"].read(_CHUNK_BYTES)):
                remaining -= len(chunk)
    except (gevent.Timeout, Exception):  # noqa: BLE001 - the answer matters, not this body
        return


def _content_length(environ: Environ) -> int:
    text = environ.get("CONTENT_LENGTH") or "0"
    return int(text) if text.isascii() and text.isdigit() else 0
