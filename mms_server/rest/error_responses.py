"""The body of an error, by the protocol of the request's path.

0.4: a small HTML page, or JSON for a client that asks for it (compatibility.md, 7.4). 1.x: JSON
with ``code``, ``type`` and ``message`` (compatibility.md, 17.5); ``code`` is the HTTP status. Open
Inference Protocol: JSON with ``error``. :mod:`mms_server.core.refusals` has the types and the texts
that 0.4 fixes.
"""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from mms_server.core.refusals import INTERNAL, Refusal

_HTML: Final = "text/html"
_JSON: Final = "application/json"


class Protocol(Enum):
    """The protocol that an answer follows."""

    CONTRACT = "MMS 0.4"
    MMS1 = "MMS 1.x"
    OIP = "Open Inference Protocol 2"


@dataclass(frozen=True)
class Failure:
    """An error for a client: its row, the HTTP status with its phrase, and the text."""

    refusal: Refusal
    code: int
    name: str
    text: str
    request_id: str = ""


def protocol_of(path: str) -> Protocol:
    """Return the protocol that a path belongs to.

    A model may have any name, also ``predictions``: a path that ends in ``/predict`` is 0.4's.
    """
    parts = path.strip("/").split("/")
    match parts:
        case ["v2"] | ["v2", "health" | "models", *_]:
            return Protocol.OIP
        case [_, "predict"]:
            return Protocol.CONTRACT
        case ["predictions" | "models", *_] | ["invocations"]:
            return Protocol.MMS1
        case _:
            return Protocol.CONTRACT


def render(failure: Failure, path: str, accept: str) -> tuple[str, bytes]:
    """Return content type and body of an error."""
    row = failure.refusal
    match protocol_of(path):
        case Protocol.OIP:
            return _JSON, _text({"error": failure.text})
        case Protocol.MMS1:
            kind = row.mms1_type or INTERNAL
            return _JSON, _text({"code": failure.code, "type": kind, "message": failure.text})
    text = row.mms04_text or failure.text
    if prefers_json(accept):
        about = {"code": failure.code, "name": failure.name, "text": text}
        return _JSON, _text({"error": {**about, "request_id": failure.request_id}})
    page = (
        '<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">\n'
        f"<title>{failure.code} {failure.name}</title>\n<h1>{failure.name}</h1>\n"
        f"<p>{html.escape(text, quote=False)}</p>\n"
    )
    return _HTML, page.encode("ascii", "xmlcharrefreplace")


def prefers_json(accept: str) -> bool:
    """Return whether ``Accept`` names JSON, and HTML with less weight; ``*/*`` means HTML."""
    weights = {_JSON: 0.0, _HTML: 0.0}
    for row in accept.lower().split(","):
        kind, _, parameters = row.partition(";")
        if kind.strip() in weights:
            weights[kind.strip()] = _quality(parameters)
    return weights[_JSON] > weights[_HTML]


def _quality(parameters: str) -> float:
    found = re.search(r"\bq\s*=\s*([01](?:\.\d*)?)", parameters)
    return float(found[1]) if found else 1.0


def _text(about: dict[str, Any]) -> bytes:
    return json.dumps(about, sort_keys=True, separators=(",", ":")).encode() + b"\n"
