"""Parsing of JSON from clients: with limits on memory, and without NaN and Infinity."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import orjson

from mms_server.core.errors import BadInputError, BodyTooLargeError

# An empty list takes 56 bytes of memory for 3 bytes of text; a number in a list takes 32 for 2.
MAX_CONTAINERS = 2_000_000
MAX_ELEMENTS = 16_000_000


def parse(text: bytes, subject: str) -> Any:
    """Return the value of the JSON ``text`` in UTF-8; ``subject`` names it in errors.

    An integer beyond 64 bits becomes the nearest float (RFC 8259, section 6).

    Raises:
        BadInputError: the text is not JSON (RFC 8259), or it is nested too deeply.
        BodyTooLargeError: as for :func:`require_small`.
    """
    require_small(text, subject)
    with contextlib.suppress(orjson.JSONDecodeError):
        return orjson.loads(text)
    # orjson refuses some valid JSON, and its errors are less detailed than those of json.
    try:
        return json.loads(text.decode("utf-8"), parse_constant=_refuse_constant)
    except RecursionError:
        cause = "it is nested too deeply"
    except ValueError as error:
        cause = str(error)
    raise BadInputError(f"{subject} is not valid JSON: {cause}.")


def require_small(text: bytes, subject: str) -> None:
    """Refuse JSON whose value would take many times the text's length in memory.

    Raises:
        BodyTooLargeError: it has more than 2 million lists and objects, or 16 million elements.
    """
    for signs, limit, kind in (
        ((b"[", b"{"), MAX_CONTAINERS, "lists and objects"),
        ((b",",), MAX_ELEMENTS, "elements"),
    ):
        if sum(text.count(sign) for sign in signs) > limit:
            raise BodyTooLargeError(
                f"{subject} has more than {limit} {kind}.", fix="send it in several requests."
            )


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")
