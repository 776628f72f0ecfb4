"""The routes of a model: predict and ping (contract, sections 7.1 to 7.4)."""

from __future__ import annotations

import ast
import base64
import binascii
import functools
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import bottle

from mms_server import body
from mms_server.engine import Engine
from mms_server.errors import BadInputError, MMSError, PredictionError
from mms_server.forms import Form, parse
from mms_server.image import require_small
from mms_server.replies import request_id
from mms_server.service_loader import LoadedModel
from mms_server.signature import IMAGE, JSON, Tensor

HEALTHY = {"health": "healthy!"}
UNHEALTHY = {"health": "unhealthy!"}
# A Python literal takes a hundred times its text in memory to parse; JSON does not.
MAX_LITERAL = 1024 * 1024

_NO_FIELD = (
    "This end point is expecting a data_name of {field}. End point details can be found here:"
    "http://<host>:<port>/api-description"
)
_WRONG_TYPE = (
    "Input data for request argument: {field} is not correct. {wanted} is expected but {given} is "
    "given."
)
_NOT_LIST = (
    "Input data for request argument: {field} is not correct. application/json is expected but "
    "got <type '{given}'> instead of list"
)
_NOT_LITERAL = "malformed node or string: {given}"
_SHOWN = 60

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Servable:
    """A loaded model with the engine it runs on and its limits."""

    model: LoadedModel
    engine: Engine
    max_body_bytes: int
    max_pixels: int

    def healthy(self) -> bool:
        """Ask the service's ``ping``, but never wait for a prediction: a busy engine is well."""
        if not self.engine.idle:
            return not self.engine.stuck
        try:
            self.engine.run(self.model.service.ping)
        except MMSError as error:
            _log.error("ping of %s failed: %r", self.model.name, error.__cause__ or error)
            return False
        return True


def model_routes(app: Any, models: Mapping[str, Servable]) -> None:
    """Add ``POST /<name>/predict`` and ``GET /<name>/ping`` for each model."""
    for name, servable in models.items():
        app.post(f"/{name}/predict", callback=functools.partial(predict, servable))
        app.get(f"/{name}/ping", callback=functools.partial(ping, [servable]))


def ping(servables: list[Servable]) -> dict[str, str]:
    """Answer whether all of these models are well: 200, or 503."""
    if all(servable.healthy() for servable in servables):
        return HEALTHY
    bottle.response.status = 503
    return UNHEALTHY


def predict(servable: Servable) -> dict[str, Any]:
    """Answer the prediction request that Bottle is handling.

    Raises:
        RequestError: the request is not as the signature says, or the model failed on it.
    """
    environ = bottle.request.environ
    data = body.read(environ, servable.max_body_bytes)
    form = parse(environ.get("CONTENT_TYPE", ""), data)
    inputs = read_inputs(servable, form)
    try:
        answer = servable.engine.run(lambda: servable.model.service.inference(inputs))
    except PredictionError as error:
        _log.error(
            "request %s: model %s failed",
            request_id(),
            servable.model.name,
            exc_info=error.__cause__,
        )
        raise
    return {"prediction": answer}


def read_inputs(servable: Servable, form: Form) -> list[Any]:
    """Return one element per input: bytes for image/jpeg, a list for application/json.

    Raises:
        RequestError: a field is missing or is not of its type.
    """
    signature = servable.model.signature
    if signature.input_type == IMAGE:
        return [_image(form, row, servable.max_pixels) for row in signature.inputs]
    return [_list(form, row) for row in signature.inputs]


def _image(form: Form, row: Tensor, max_pixels: int) -> bytes:
    field = row.data_name
    part = form.file(field)
    if part is not None:
        if part.content_type != IMAGE:
            given = part.content_type[:_SHOWN]
            raise BadInputError(_WRONG_TYPE.format(field=field, wanted=IMAGE, given=given))
        data = part.value
    else:
        text = form.field(field)
        if text is None:
            raise BadInputError(_NO_FIELD.format(field=field))
        data = _from_base64(text.value, field)
    if not data:
        raise BadInputError(f"Input data for request argument: {field} is empty.")
    require_small(data, max_pixels)
    return data


def _from_base64(text: bytes, field: str) -> bytes:
    """Decode leniently: padding may be missing, and a ``+`` that was not escaped is a blank."""
    packed = text.strip().translate(None, b"\r\n\t").replace(b" ", b"+").rstrip(b"=")
    try:
        return base64.b64decode(packed + b"=" * (-len(packed) % 4), validate=True)
    except binascii.Error as error:
        raise BadInputError(
            _WRONG_TYPE.format(field=field, wanted=IMAGE, given="text that is not base64")
        ) from error


def _list(form: Form, row: Tensor) -> list[Any]:
    field = row.data_name
    part = form.field(field) or form.file(field)
    if part is None:
        raise BadInputError(
            _NOT_LITERAL.format(given="None"),
            fix=f"send a form field {field} that holds a list.",
        )
    value = _literal(part.text, field)
    if not isinstance(value, list):
        given = type(value).__name__
        raise BadInputError(_NOT_LIST.format(field=field, given=given))
    return value


def _literal(text: str, field: str) -> Any:
    """Return JSON or a Python literal; JSON first, since most clients write it."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
    try:
        if len(text) <= MAX_LITERAL:
            return ast.literal_eval(text.strip())
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        pass
    raise BadInputError(
        _NOT_LITERAL.format(given=repr(shown)),
        fix=f"send {field} as a list, in {JSON} or as a Python literal.",
    )


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")
