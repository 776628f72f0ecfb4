"""A model's inputs from a form (compatibility.md, 7.2)."""

from __future__ import annotations

import ast
import base64
import binascii
from typing import Any

from mms_server.archives.signature import IMAGE, JSON, Signature, Tensor
from mms_server.config.request_limits import RequestLimits
from mms_server.core import strict_json
from mms_server.core.errors import BadInputError
from mms_server.inference.image_decoder import require_small
from mms_server.rest.form_parser import Form

# To parse a Python literal takes a hundred times the memory of its text; JSON does not.
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


def read_inputs(signature: Signature, form: Form, limits: RequestLimits) -> list[Any]:
    """Return one element per input: bytes for image/jpeg, a list for application/json.

    Raises:
        RequestError: a field is missing or has the wrong type.
    """
    if signature.input_type == IMAGE:
        return [_image(form, row, limits) for row in signature.inputs]
    return [_list(form, row) for row in signature.inputs]


def _image(form: Form, row: Tensor, limits: RequestLimits) -> bytes:
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
        data = from_base64(text.value, field)
    return whole_picture(data, field, limits)


def whole_picture(data: bytes, field: str, limits: RequestLimits) -> bytes:
    """Return the encoded picture if it is small enough to decode.

    Raises:
        RequestError: the picture is empty, or is larger than ``limits`` allow.
    """
    if not data:
        raise BadInputError(f"Input data for request argument: {field} is empty.")
    require_small(data, limits)
    return data


def from_base64(text: bytes, field: str) -> bytes:
    """Decode base64; padding may be missing, and a blank counts as a ``+`` that was not escaped.

    Raises:
        BadInputError: the text is not base64.
    """
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
    """Return the value of JSON, which most clients send, or of a Python literal."""
    try:
        return strict_json.parse(text.encode("utf-8", "surrogatepass"), field)
    except BadInputError:
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
