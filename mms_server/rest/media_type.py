"""The media type of a request's body, without its parameters."""

from __future__ import annotations

from email.message import Message
from typing import Final

FORMS: Final = ("multipart/form-data", "application/x-www-form-urlencoded")


def kind_of(content_type: str) -> str:
    """Return the media type without its parameters, in lower case; empty if there is none."""
    if not content_type.strip():
        return ""
    header = Message()
    header["Content-Type"] = content_type.replace("\r", " ").replace("\n", " ")
    return header.get_content_type()
