"""``POST /v2/models/<model>/infer``: tensors in, tensors out, with the same service class as 0.4.

``_preprocess`` of the service gets the inputs: pictures as encoded bytes, tensors as lists, or as
arrays if it is the ``_preprocess`` of the base service. The outputs are those of ``_inference``,
before ``_postprocess``, with the names of the signature. A service whose outputs are not arrays, or
that has its own ``inference``, has one output ``prediction`` with one BYTES element: the JSON of
0.4's answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import bottle

from mms_server.archives.signature import IMAGE, Signature, Tensor
from mms_server.config.request_limits import RequestLimits
from mms_server.core import request_body
from mms_server.core.errors import BadInputError, NotFoundError
from mms_server.core.request_id import request_id
from mms_server.inference.raw_request import HandlerAnswer, RawRequest
from mms_server.inference.servable import Servable
from mms_server.inference.services.mxnet_model_service import MXNetBaseService
from mms_server.inference.tensor_codec import BYTES
from mms_server.rest.mms04.inputs import from_base64, whole_picture
from mms_server.rest.observed_route import observe_route
from mms_server.rest.oip import messages
from mms_server.rest.oip.messages import InferRequest, InputTensor, OutputTensor
from mms_server.rest.oip.metadata import HANDLER_INPUT, WHOLE_ANSWER
from mms_server.rest.responses import Raw, json_body

_HEADER_KEY = "HTTP_INFERENCE_HEADER_CONTENT_LENGTH"


def oip_routes(app: Any, models: Mapping[str, Servable]) -> None:
    """Add the inference route of each model, with and without a version."""
    for name, servable in models.items():
        path = f"/v2/models/{name}"
        app.post(f"{path}/infer", callback=observe_route(servable, infer))
        app.post(f"{path}/versions/<version>/infer", callback=partial(_of_version, servable))


def _of_version(servable: Servable, version: str) -> Any:
    if version != servable.model.version:
        name = servable.model.name
        raise NotFoundError(
            f"Model {name} has no version {version}; it has {servable.model.version}."
        )
    return observe_route(servable, infer)()


def infer(servable: Servable) -> Raw:
    """Answer the inference request that Bottle is handling.

    Raises:
        RequestError: the request does not follow protocol and signature, or the model failed on it.
    """
    environ = bottle.request.environ
    data = request_body.read(environ, servable.limits.max_body_bytes)
    request = messages.read(data, environ.get(_HEADER_KEY, ""))
    model = servable.model
    if model.signature is None:
        outputs = [_handled(servable, request)]
    else:
        inputs = _inputs(servable, model.signature, request)
        outputs = _outputs(model.signature, *servable.infer_arrays(inputs))
    return messages.write(model.name, model.version, request, outputs)


def _inputs(servable: Servable, signature: Signature, request: InferRequest) -> list[Any]:
    given = {row.name: row for row in request.inputs}
    names = [row.data_name for row in signature.inputs]
    if set(given) != set(names):
        raise BadInputError(
            f"The model's inputs are {', '.join(names)}; the request has {', '.join(given)}."
        )
    if signature.input_type == IMAGE:
        return [_picture(given[name], servable.limits) for name in names]
    plain = _takes_arrays(servable.model.service)
    return [_values(given[row.data_name], row, plain=plain) for row in signature.inputs]


def _takes_arrays(service: Any) -> bool:
    """Return whether ``_preprocess`` is that of the base service, of which archives have a copy."""
    code = getattr(getattr(type(service), "_preprocess", None), "__code__", None)
    ours = MXNetBaseService._preprocess.__code__  # noqa: SLF001 - the users' interface
    parts = ("co_code", "co_consts", "co_names", "co_varnames")
    return all(getattr(code, part, None) == getattr(ours, part) for part in parts)


def _picture(tensor: InputTensor, limits: RequestLimits) -> bytes:
    if tensor.datatype != BYTES or len(tensor.data) != 1:
        raise BadInputError(
            f"Input {tensor.name} is not one element of datatype BYTES: an encoded picture, in "
            "base64 if the data are JSON."
        )
    (element,) = tensor.data
    encoded = element if tensor.binary else from_base64(element, tensor.name)
    return whole_picture(encoded, tensor.name, limits)


def _values(tensor: InputTensor, row: Tensor, *, plain: bool) -> Any:
    if tensor.datatype == BYTES:
        if plain:
            raise BadInputError(f"Input {tensor.name} is BYTES; the model takes numbers.")
        try:
            return [element.decode("utf-8") for element in tensor.data]
        except UnicodeDecodeError as error:
            raise BadInputError(f"Input {tensor.name} is not text in UTF-8.") from error
    if not plain:
        return tensor.data.tolist() if tensor.shape else [tensor.data.tolist()]
    wanted = row.data_shape
    fits = len(wanted) == len(tensor.shape) and all(
        size in {0, given} for size, given in list(zip(wanted, tensor.shape, strict=True))[1:]
    )
    if not fits:
        shape = [-1, *(size or -1 for size in wanted[1:])]
        raise BadInputError(
            f"Input {tensor.name} has shape {list(tensor.shape)}; the model takes {shape}."
        )
    return tensor.data


def _outputs(signature: Signature, result: Any, are_arrays: bool) -> list[OutputTensor]:  # noqa: FBT001
    if not are_arrays:
        return [OutputTensor(WHOLE_ANSWER, [json_body(result).strip()])]
    return [
        OutputTensor(name, array)
        for name, array in zip(_names(signature, len(result)), result, strict=True)
    ]


def _names(signature: Signature, count: int) -> Sequence[str]:
    names = [row.data_name for row in signature.outputs]
    if len(names) == count and len(set(names)) == count:
        return names
    return [f"output_{number}" for number in range(count)]


def _handled(servable: Servable, request: InferRequest) -> OutputTensor:
    """Return the output of a 1.x handler, which gets the only element as its body."""
    only = request.inputs[0]
    if len(request.inputs) != 1 or only.datatype != BYTES or len(only.data) != 1:
        raise BadInputError(
            f"The model has no signature: it takes one input {HANDLER_INPUT} with one element of "
            "datatype BYTES, the request's body."
        )
    answer: HandlerAnswer = servable.infer(
        RawRequest({"body": only.data[0]}, request_id=request_id())
    )
    if isinstance(answer.body, bytes | bytearray):
        return OutputTensor(WHOLE_ANSWER, [bytes(answer.body)])
    text = answer.body if isinstance(answer.body, str) else json_body(answer.body).decode().strip()
    return OutputTensor(WHOLE_ANSWER, [text.encode()])
