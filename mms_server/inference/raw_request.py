"""Request and answer of a model without a signature: a 1.x handler reads the request itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class RawRequest:
    """One request for a handler.

    ``row`` has the fields of a form by name, or the body under ``body``, and the parameters of the
    query. Its values are bytes, or parsed JSON. ``headers`` have lower-case names.
    """

    row: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    request_id: str = ""


@dataclass(frozen=True)
class HandlerAnswer:
    """The answer of a handler.

    ``body`` is bytes, text, or an object to be sent as JSON. An empty ``content_type`` stands for
    the default of that kind of body.
    """

    body: Any
    content_type: str = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
