"""Answers of a web server: sound ones, and the faults that networks have."""

from __future__ import annotations

import contextlib
import re
import time
from http.server import BaseHTTPRequestHandler

from webserver import Answer


def whole(content: bytes, etag: str = "", **headers: str) -> Answer:
    """Return the content, or the range of it that is asked for; 304 if the client has it."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers
        if etag and asked.get("If-None-Match") == etag:
            _send(handler, 304, b"", {"ETag": etag})
            return
        found = re.fullmatch(r"bytes=(\d+)-", asked.get("Range", ""))
        start = int(found[1]) if found and asked.get("If-Range") == etag else 0
        extra = {name.replace("_", "-"): value for name, value in headers.items()}
        if etag:
            extra["ETag"] = etag
        if start >= len(content) > 0:
            _send(handler, 416, b"", extra)
            return
        if start:
            extra["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        _send(handler, 206 if start else 200, content[start:], extra)

    return answer


def status(code: int, body: bytes = b"", **headers: str) -> Answer:
    """Return an answer with a status and nothing else of use."""
    extra = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler: _send(handler, code, body, extra)


def cut(content: bytes, after: int, etag: str = "") -> Answer:
    """Promise the content, send a part of it, and close the connection."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        found = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        start = int(found[1]) if found else 0
        handler.send_response(206 if start else 200)
        if start:
            row = f"bytes {start}-{len(content) - 1}/{len(content)}"
            handler.send_header("Content-Range", row)
        handler.send_header("Content-Length", str(len(content) - start))
        if etag:
            handler.send_header("ETag", etag)
        handler.end_headers()
        handler.wfile.write(content[start:after])

    return answer


def endless(etag: str = "") -> Answer:
    """Send without end, and without saying how much."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        if etag:
            handler.send_header("ETag", etag)
        handler.end_headers()
        with contextlib.suppress(OSError):
            handler.wfile.write(b"PK\x03\x04")
            while True:
                handler.wfile.write(bytes(65536))

    return answer


def silent(seconds: float) -> Answer:
    """Accept the request and say nothing."""
    return lambda _handler: time.sleep(seconds)


def _send(handler: BaseHTTPRequestHandler, code: int, body: bytes, headers: dict[str, str]) -> None:
    handler.send_response(code)
    for name, value in headers.items():
        handler.send_header(name, value)
    if code != 304:
        handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    with contextlib.suppress(OSError):
        handler.wfile.write(body)
