"""What a model without a signature gets and gives: a 1.x handler reads the request itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class WholeRequest:
    """One request: the fields of a form by name, or the body under ``body``, and the query's.

    Values are bytes, or what JSON means. ``headers`` have lower-case names.
    """

    row: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    request_id: str = ""


@dataclass(frozen=True)
class HandlerAnswer:
    """What a handler made of a request.

    ``body`` is bytes, text, or an object to be sent as JSON; an empty ``content_type`` means: the
    usual one of that kind of body.
    """

    body: Any
    content_type: str = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
