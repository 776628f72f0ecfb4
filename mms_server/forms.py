"""Read form bodies: multipart (RFC 7578) and URL-encoded, in linear time and within limits.

The body is searched, not read line by line, so a picture costs microseconds; and every loop is
bounded by the number of parts that is allowed.
"""

from __future__ import annotations

import urllib.parse
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser

from mms_server.errors import BadInputError, BodyTooLargeError

MAX_PARTS = 1000
MAX_PART_HEADER_BYTES = 8 * 1024
MAX_BOUNDARY = 200
# Decoding an escape takes some hundred bytes of memory; a base64 picture has few of them.
MAX_ESCAPES = 2_000_000

_CRLF = b"\r\n"
_SEND_FORM = "send the fields as multipart/form-data, as curl -F does."


@dataclass(frozen=True)
class Part:
    """One field of a form; ``filename`` is None for a text field."""

    name: str
    value: bytes
    filename: str | None = None
    content_type: str = ""

    @property
    def text(self) -> str:
        """The value as text."""
        return self.value.decode("utf-8", "replace")


@dataclass(frozen=True)
class Form:
    """The fields of a request, in their order."""

    parts: tuple[Part, ...] = ()

    def file(self, name: str) -> Part | None:
        """Return the first file of this name."""
        rows = (row for row in self.parts if row.name == name and row.filename is not None)
        return next(rows, None)

    def field(self, name: str) -> Part | None:
        """Return the first text field of this name."""
        rows = (row for row in self.parts if row.name == name and row.filename is None)
        return next(rows, None)


def parse(content_type: str, body: bytes) -> Form:
    """Return the form in a body; an empty form for any other kind of body.

    Raises:
        BadInputError: the body is not what its content type says.
        BodyTooLargeError: it has too many parts or escapes.
    """
    header = Message()
    header["Content-Type"] = content_type.replace("\r", " ").replace("\n", " ")
    kind = header.get_content_type()
    if kind == "multipart/form-data":
        boundary = header.get_boundary("")
        if not boundary or len(boundary) > MAX_BOUNDARY or not boundary.isascii():
            raise BadInputError("The multipart boundary is missing or too long.", fix=_SEND_FORM)
        return Form(tuple(_multipart(body, boundary.encode())))
    if kind == "application/x-www-form-urlencoded":
        return Form(tuple(_urlencoded(body)))
    return Form()


def _multipart(body: bytes, boundary: bytes) -> list[Part]:
    """Return the parts between the boundaries; what is before the first is no part (RFC 2046)."""
    delimiter = _CRLF + b"--" + boundary
    opening = delimiter[2:]
    start = len(opening) if body.startswith(opening) else _after(body, delimiter, 0)
    parts: list[Part] = []
    while start >= 0:
        line_end = body.find(_CRLF, start, start + MAX_BOUNDARY)
        if body.startswith(b"--", start):
            return parts
        if line_end < 0 or body[start:line_end].strip(b" \t"):
            break
        if len(parts) >= MAX_PARTS:
            raise BodyTooLargeError(f"The form has more than {MAX_PARTS} parts.", fix=_SEND_FORM)
        end = body.find(delimiter, line_end)
        if end < 0:
            break
        parts.append(_part(body, line_end, end))
        start = end + len(delimiter)
    raise BadInputError("The multipart body is malformed or cut off.", fix=_SEND_FORM)


def _after(body: bytes, delimiter: bytes, start: int) -> int:
    found = body.find(delimiter, start)
    return found + len(delimiter) if found >= 0 else -1


def _part(body: bytes, start: int, end: int) -> Part:
    """Return the part whose headers begin with the line end at ``start``."""
    blank = body.find(_CRLF + _CRLF, start, min(end + 2, start + MAX_PART_HEADER_BYTES))
    if blank < 0:
        raise BadInputError("A part of the form has no or too long headers.", fix=_SEND_FORM)
    text = body[start + 2 : blank].decode("utf-8", "replace")
    headers = HeaderParser().parsestr(text, headersonly=True)
    name = _parameter(headers, "name")
    if name is None:
        raise BadInputError("A part of the form has no name.", fix=_SEND_FORM)
    return Part(
        name=name,
        value=body[blank + 4 : end],
        filename=_parameter(headers, "filename"),
        content_type=str(headers.get("Content-Type", "")).strip(),
    )


def _parameter(headers: Message, key: str) -> str | None:
    value = headers.get_param(key, header="content-disposition")
    if value is None or isinstance(value, str):
        return value
    return value[2]


def _urlencoded(body: bytes) -> list[Part]:
    if body.count(b"&") >= MAX_PARTS:
        raise BodyTooLargeError(f"The form has more than {MAX_PARTS} fields.", fix=_SEND_FORM)
    if body.count(b"%") > MAX_ESCAPES:
        raise BodyTooLargeError("The form has too many escaped characters.", fix=_SEND_FORM)
    rows = (row.partition(b"=") for row in body.split(b"&") if row)
    return [Part(_unquote(name).decode("utf-8", "replace"), _unquote(raw)) for name, _, raw in rows]


def _unquote(data: bytes) -> bytes:
    return urllib.parse.unquote_to_bytes(data.replace(b"+", b" "))
