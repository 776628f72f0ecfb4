"""Parse form bodies: multipart (RFC 7578) and URL-encoded, in linear time and within limits."""

from __future__ import annotations

import base64
import binascii
import urllib.parse
from dataclasses import dataclass
from email.message import Message

from multipart import (
    MultipartError,
    MultipartSegment,
    ParserLimitReached,
    PushMultipartParser,
)

from mms_server.config.request_limits import RequestLimits
from mms_server.core.errors import BadInputError, BodyTooLargeError

MAX_BOUNDARY = 200

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
    """The fields of a request, in the order of the body."""

    parts: tuple[Part, ...] = ()

    def file(self, name: str) -> Part | None:
        """Return the first file of this name."""
        rows = (row for row in self.parts if row.name == name and row.filename is not None)
        return next(rows, None)

    def field(self, name: str) -> Part | None:
        """Return the first text field of this name."""
        rows = (row for row in self.parts if row.name == name and row.filename is None)
        return next(rows, None)


def parse(content_type: str, body: bytes, limits: RequestLimits) -> Form:
    """Return the form in a body; an empty form for any other content type.

    Raises:
        BadInputError: the body does not match its content type.
        BodyTooLargeError: the body has too many parts or escapes.
    """
    header = Message()
    header["Content-Type"] = content_type.replace("\r", " ").replace("\n", " ")
    kind = header.get_content_type()
    if kind == "multipart/form-data":
        boundary = header.get_boundary("")
        if not boundary or len(boundary) > MAX_BOUNDARY or not boundary.isascii():
            raise BadInputError("The multipart boundary is missing or too long.", fix=_SEND_FORM)
        return Form(tuple(_multipart(body, boundary, limits)))
    if kind == "application/x-www-form-urlencoded":
        return Form(tuple(_urlencoded(body, limits)))
    return Form()


def _multipart(body: bytes, boundary: str, limits: RequestLimits) -> list[Part]:
    """Return the parts of a multipart body; it must end with its last boundary."""
    parts: list[Part] = []
    parser = PushMultipartParser(
        boundary,
        content_length=len(body),
        max_header_size=limits.max_part_header_bytes,
        max_segment_count=limits.max_parts,
    )
    try:
        with parser:
            value: list[bytes] = []
            segment: MultipartSegment | None = None
            for event in parser.parse(body):
                if isinstance(event, MultipartSegment):
                    segment, value = event, []
                elif event is not None:
                    value.append(event)
                elif segment is not None:
                    parts.append(_part(segment, b"".join(value)))
    except ParserLimitReached as error:
        raise BodyTooLargeError(
            f"The form has more than {limits.max_parts} parts, or headers of more than "
            f"{limits.max_part_header_bytes} bytes.",
            fix=_SEND_FORM,
        ) from error
    except MultipartError as error:
        raise BadInputError(
            f"The multipart body is malformed or cut off: {error}.", fix=_SEND_FORM
        ) from error
    return parts


def _part(segment: MultipartSegment, value: bytes) -> Part:
    if not segment.name:
        raise BadInputError("A part of the form has no name.", fix=_SEND_FORM)
    encoding = (segment.header("Content-Transfer-Encoding") or "").strip().lower()
    return Part(
        name=segment.name,
        value=_transfer_decoded(value, encoding),
        filename=segment.filename,
        content_type=(segment.header("Content-Type") or "").strip(),
    )


def _transfer_decoded(value: bytes, encoding: str) -> bytes:
    """Decode base64, which RFC 7578 deprecates, as 0.4's parser did: Ansible sends it."""
    if encoding != "base64":
        return value
    try:
        return base64.b64decode(value.translate(None, b"\r\n \t"), validate=True)
    except binascii.Error as error:
        raise BadInputError(
            f"A part of the form is not base64: {error}.", fix=_SEND_FORM
        ) from error


def _urlencoded(body: bytes, limits: RequestLimits) -> list[Part]:
    if body.count(b"&") >= limits.max_parts:
        raise BodyTooLargeError(
            f"The form has more than {limits.max_parts} fields.", fix=_SEND_FORM
        )
    if body.count(b"%") > limits.max_form_escapes:
        raise BodyTooLargeError("The form has too many escaped characters.", fix=_SEND_FORM)
    rows = (row.partition(b"=") for row in body.split(b"&") if row)
    return [Part(_unquote(name).decode("utf-8", "replace"), _unquote(raw)) for name, _, raw in rows]


def _unquote(data: bytes) -> bytes:
    return urllib.parse.unquote_to_bytes(data.replace(b"+", b" "))
