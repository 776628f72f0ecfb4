"""Requests for models without a signature: a 1.x handler reads the request itself."""

from __future__ import annotations

import re
from typing import Any, Final

import bottle

from mms_server.archives.signature import JSON
from mms_server.config.request_limits import RequestLimits
from mms_server.core import request_body, strict_json
from mms_server.core.errors import PredictionError
from mms_server.core.request_id import request_id
from mms_server.inference.raw_request import HandlerAnswer, RawRequest
from mms_server.inference.servable import Servable
from mms_server.rest.form_parser import parse
from mms_server.rest.media_type import FORMS, kind_of
from mms_server.rest.responses import Raw, json_body

_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
# A handler cannot set these: the server sets them (RFC 9110, section 7.6.1).
_RESERVED: Final = frozenset(
    (
        "connection",
        "content-length",
        "date",
        "keep-alive",
        "proxy-authenticate",
        "proxy-connection",
        "server",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "content-type",
        "x-request-id",
    )
)
_FIRST_STATUS, _LAST_STATUS = 200, 599


def raw_request(environ: dict[str, Any], limits: RequestLimits) -> RawRequest:
    """Return the request that Bottle is handling, for a handler.

    Raises:
        RequestError: the body of the request cannot be read.
    """
    data = request_body.read(environ, limits.max_body_bytes)
    content_type = environ.get("CONTENT_TYPE", "")
    headers = {
        key.removeprefix("HTTP_").replace("_", "-").lower(): value
        for key, value in environ.items()
        if key.startswith("HTTP_")
    }
    if content_type:
        headers["content-type"] = content_type
    query = bottle.request.query.dict.items()
    row: dict[str, Any] = {key: values[0].encode() for key, values in query}
    if kind_of(content_type) in FORMS:
        # If several parts have one name, the first counts, as in 0.4.
        for part in reversed(parse(content_type, data, limits).parts):
            row[part.name] = _value(part.value, part.content_type, part.name)
    elif data:
        row["body"] = _value(data, content_type, "The request body")
    return RawRequest(row, headers, request_id())


def _value(data: bytes, content_type: str, what: str) -> Any:
    return strict_json.parse(data, what) if kind_of(content_type) == JSON else data


def handle(servable: Servable, *, envelope: bool) -> Any:
    """Answer the request that Bottle is handling with the answer of the model's handler.

    With ``envelope``, text and JSON are put under the key ``prediction``, as in 0.4.

    Raises:
        RequestError: the request cannot be read, or the handler failed.
    """
    request = raw_request(bottle.request.environ, servable.limits)
    answer = servable.infer(request)
    if not isinstance(answer, HandlerAnswer):
        raise PredictionError("The model did not answer.")
    return _sent(answer, envelope=envelope)


def _sent(answer: HandlerAnswer, *, envelope: bool) -> Any:
    if _FIRST_STATUS <= answer.status <= _LAST_STATUS:
        bottle.response.status = answer.status
    headers = {
        name: value
        for name, value in answer.headers.items()
        if name.lower() not in _RESERVED and _NAME.fullmatch(name) and _VALUE.fullmatch(value)
    }
    content_type = answer.content_type if _VALUE.fullmatch(answer.content_type) else ""
    if isinstance(answer.body, bytes | bytearray):
        return Raw(bytes(answer.body), content_type or "application/octet-stream", headers)
    if envelope:
        return Raw(json_body({"prediction": answer.body}), "application/json", headers)
    if isinstance(answer.body, str):
        return Raw(answer.body.encode(), content_type or "text/plain; charset=utf-8", headers)
    return Raw(json_body(answer.body), content_type or "application/json", headers)
