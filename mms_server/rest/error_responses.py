"""How an error looks, by the protocol of the path that was asked for.

0.4: a small HTML page, or JSON for a client that asks for it (contract, section 7.4). 1.x: JSON
with ``code``, ``type`` and ``message`` (contract, section 17.5), with honest codes. Open Inference
Protocol: JSON with ``error``.
"""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

_HTML: Final = "text/html"
_JSON: Final = "application/json"
# What 0.4 answered whatever the cause: clients compare the text.
_CONTRACT_TEXTS: Final = {
    404: "The requested URL was not found on the server.  If you entered the URL manually please "
    "check your spelling and try again.",
    405: "The method is not allowed for the requested URL.",
}
_TYPES: Final = {
    400: "BadRequestException",
    404: "ResourceNotFoundException",
    405: "MethodNotAllowedException",
    408: "RequestTimeoutException",
    411: "LengthRequiredException",
    413: "RequestEntityTooLargeException",
    422: "QuarantinedRequestException",
    503: "ServiceUnavailableException",
    504: "PredictionTimeoutException",
}
_MODEL_NOT_FOUND: Final = "Model not found: "


class Protocol(Enum):
    """Whose rules an answer follows."""

    CONTRACT = "MMS 0.4"
    MMS1 = "MMS 1.x"
    OIP = "Open Inference Protocol 2"


@dataclass(frozen=True)
class Failure:
    """What went wrong: a status with its phrase, and one text for the client."""

    code: int
    name: str
    text: str
    request_id: str = ""


def protocol_of(path: str) -> Protocol:
    """Return the protocol that a path belongs to.

    A model may have any name: what ends like a route of 0.4 is one.
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
    match protocol_of(path):
        case Protocol.OIP:
            return _JSON, _text({"error": failure.text})
        case Protocol.MMS1:
            return _JSON, _text(
                {"code": failure.code, "type": _type(failure), "message": failure.text}
            )
    text = _CONTRACT_TEXTS.get(failure.code, failure.text)
    if prefers_json(accept):
        about = {"code": failure.code, "name": failure.name, "text": text}
        return _JSON, _text({"error": {**about, "request_id": failure.request_id}})
    page = (
        '<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">\n'
        f"<title>{failure.code} {failure.name}</title>\n<h1>{failure.name}</h1>\n"
        f"<p>{html.escape(text, quote=False)}</p>\n"
    )
    return _HTML, page.encode("ascii", "xmlcharrefreplace")


def model_not_found(model: str) -> str:
    """Return the text for a model that is not served."""
    return f"{_MODEL_NOT_FOUND}{model}"


def prefers_json(accept: str) -> bool:
    """Whether JSON is named, and not after HTML; a bare ``*/*`` gets the contract's page."""
    weights = {_JSON: 0.0, _HTML: 0.0}
    for row in accept.lower().split(","):
        kind, _, parameters = row.partition(";")
        if kind.strip() in weights:
            weights[kind.strip()] = _quality(parameters)
    return weights[_JSON] > weights[_HTML]


def _quality(parameters: str) -> float:
    found = re.search(r"\bq\s*=\s*([01](?:\.\d*)?)", parameters)
    return float(found[1]) if found else 1.0


def _type(failure: Failure) -> str:
    if failure.text.startswith(_MODEL_NOT_FOUND):
        return "ModelNotFoundException"
    return _TYPES.get(failure.code, "InternalServerException")


def _text(about: dict[str, Any]) -> bytes:
    return json.dumps(about, sort_keys=True, separators=(",", ":")).encode() + b"\n"
