"""A model's inputs from the bodies that the routes of 1.x accept beyond 0.4's forms.

These are raw bodies, JSON bodies, and forms whose only part may have any name
(compatibility.md, 17.3).
"""

from __future__ import annotations

from typing import Any, Final

from mms_server.archives.signature import IMAGE, Signature, Tensor
from mms_server.config.request_limits import RequestLimits
from mms_server.core import strict_json
from mms_server.core.errors import BadInputError
from mms_server.rest.form_parser import Form, Part, parse
from mms_server.rest.media_type import FORMS, kind_of
from mms_server.rest.mms04.inputs import from_base64, read_inputs, whole_picture

_JSON_SIGNS: Final = (b"[", b"{")


def read_any(
    signature: Signature, content_type: str, data: bytes, limits: RequestLimits
) -> list[Any]:
    """Return one element per input: bytes for image/jpeg, a list for application/json.

    Raises:
        RequestError: the body does not have the inputs of the signature.
    """
    kind = kind_of(content_type)
    # `curl -d '[1, 2]'` sends the content type of a form.
    looks_like_json = data.lstrip()[:1] in _JSON_SIGNS and kind != FORMS[0]
    if kind in FORMS and not looks_like_json:
        form = _named(signature, parse(content_type, data, limits))
        return read_inputs(signature, form, limits)
    if signature.input_type == IMAGE and len(signature.inputs) == 1 and not _is_json(kind, data):
        return [whole_picture(data, signature.inputs[0].data_name, limits)]
    if not data.strip():
        raise BadInputError("The request body is empty.", fix=_wanted(signature))
    value = strict_json.parse(data, "The request body")
    if signature.input_type == IMAGE:
        return [
            whole_picture(_base64(value, row, signature), row.data_name, limits)
            for row in signature.inputs
        ]
    return [_list(value, row, signature) for row in signature.inputs]


def _is_json(kind: str, data: bytes) -> bool:
    return kind == "application/json" or kind.endswith("+json") or data[:1] in _JSON_SIGNS


def _named(signature: Signature, form: Form) -> Form:
    """Give the only part of a form the name of the only input, and each picture the type JPEG."""
    parts = form.parts
    if len(parts) == 1 and len(signature.inputs) == 1:
        (only,), (row,) = parts, signature.inputs
        parts = (Part(row.data_name, only.value, only.filename, only.content_type),)
    if signature.input_type == IMAGE:
        parts = tuple(
            Part(part.name, part.value, part.filename, IMAGE) if part.filename is not None else part
            for part in parts
        )
    return Form(parts)


def _base64(value: Any, row: Tensor, signature: Signature) -> bytes:
    text = _member(value, row, signature)
    if not isinstance(text, str):
        raise BadInputError(
            f"{row.data_name} in the JSON body is not a picture in base64.", fix=_wanted(signature)
        )
    return from_base64(text.encode("ascii", "replace"), row.data_name)


def _list(value: Any, row: Tensor, signature: Signature) -> list[Any]:
    found = _member(value, row, signature)
    if not isinstance(found, list):
        raise BadInputError(
            f"{row.data_name} in the JSON body is not a list.", fix=_wanted(signature)
        )
    return found


def _member(value: Any, row: Tensor, signature: Signature) -> Any:
    if isinstance(value, dict):
        if row.data_name not in value:
            raise BadInputError(f"The JSON body has no {row.data_name}.", fix=_wanted(signature))
        return value[row.data_name]
    if len(signature.inputs) > 1:
        raise BadInputError("The JSON body is not an object.", fix=_wanted(signature))
    return value


def _wanted(signature: Signature) -> str:
    names = ", ".join(row.data_name for row in signature.inputs)
    if signature.input_type == IMAGE:
        return f"send the encoded picture as the body, or a form or JSON object with: {names}."
    return f"send a JSON list as the body, or a form or JSON object with: {names}."
