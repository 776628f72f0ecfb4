"""The id of the current HTTP request: it is in logs, answers and crash reports."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import bottle

NewId = Callable[[], str]

_PATTERN: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_KEY: Final = "mms.request_id"


def set_request_id(new_id: NewId) -> None:
    """Set the id of the current request: the ``X-Request-Id`` if it is well-formed, else a new id.

    A well-formed id has 1 to 128 of the characters ``A-Za-z0-9._-``.
    """
    client_id = bottle.request.environ.get("HTTP_X_REQUEST_ID", "")
    bottle.request.environ[_KEY] = client_id if _PATTERN.fullmatch(client_id) else new_id()


def request_id() -> str:
    """Return the id of the current request; empty if none is set."""
    return str(bottle.request.environ.get(_KEY, ""))
