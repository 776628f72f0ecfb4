"""The id of the request that is being answered: in logs, answers, crash reports."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import bottle

NewId = Callable[[], str]

_PATTERN: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_KEY: Final = "mms.request_id"


def take_request_id(new_id: NewId) -> None:
    """Keep the client's ``X-Request-Id`` if it is well-formed, or else a new one."""
    given = bottle.request.environ.get("HTTP_X_REQUEST_ID", "")
    bottle.request.environ[_KEY] = given if _PATTERN.fullmatch(given) else new_id()


def request_id() -> str:
    """Return the id of the current request: the client's, or a new one."""
    return str(bottle.request.environ.get(_KEY, ""))
