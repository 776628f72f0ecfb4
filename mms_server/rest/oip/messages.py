"""Requests and answers of ``/infer`` (Open Inference Protocol 2, with binary tensor data).

The extension puts tensors behind the JSON. ``Inference-Header-Content-Length`` is the length of the
JSON, and ``binary_data_size`` of a tensor is the length of its data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from mms_server.core import strict_json
from mms_server.core.errors import BadInputError, PredictionError
from mms_server.inference import tensor_codec
from mms_server.inference.tensor_codec import BYTES, Array
from mms_server.rest.responses import Raw, json_body

HEADER: Final = "Inference-Header-Content-Length"
_MAX_TENSORS: Final = 1000


@dataclass(frozen=True)
class InputTensor:
    """One input: an array, or a list of bytes for BYTES; ``binary`` if it came as binary data."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: Any
    binary: bool


@dataclass(frozen=True)
class WantedOutput:
    """One output that the client asks for."""

    name: str
    binary: bool


@dataclass(frozen=True)
class InferRequest:
    """A whole request; ``outputs`` is empty if the client wants all of them."""

    id: str | None
    inputs: tuple[InputTensor, ...]
    outputs: tuple[WantedOutput, ...]
    binary_outputs: bool


@dataclass(frozen=True)
class OutputTensor:
    """One output: an array, or the elements of a BYTES tensor."""

    name: str
    data: Array | list[bytes]

    def about(self) -> dict[str, Any]:
        """Return name, datatype and shape."""
        if isinstance(self.data, list):
            return {"name": self.name, "datatype": BYTES, "shape": [len(self.data)]}
        datatype = tensor_codec.datatype_of(self.data)
        return {"name": self.name, "datatype": datatype, "shape": list(self.data.shape)}


def read(body: bytes, header_length: str) -> InferRequest:
    """Return the request; ``header_length`` is the value of the header, empty without the header.

    Raises:
        BadInputError: the request does not follow the protocol.
    """
    split = _header_length(body, header_length)
    about = strict_json.parse(body[:split], "The request")
    if not isinstance(about, dict):
        raise BadInputError("The request is not a JSON object.")
    identifier = about.get("id")
    if identifier is not None and not isinstance(identifier, str):
        raise BadInputError("The request's id is not a string.")
    parameters = _parameters(about)
    return InferRequest(
        id=identifier,
        inputs=_inputs(_objects(about, "inputs"), memoryview(body)[split:]),
        outputs=tuple(_outputs(_objects(about, "outputs"), parameters)),
        binary_outputs=parameters.get("binary_data_output") is True,
    )


def write(model: str, version: str, request: InferRequest, outputs: Sequence[OutputTensor]) -> Raw:
    """Return the answer with the outputs that the request asks for, in the order of the request.

    Raises:
        BadInputError: the request asks for an output that does not exist, or for bytes as JSON.
        PredictionError: a number cannot be written as JSON.
    """
    chosen = _chosen(request, outputs)
    rows, binary = list[dict[str, Any]](), list[bytes]()
    for output, as_binary in chosen:
        about = output.about()
        if as_binary:
            binary.append(tensor_codec.to_binary(output.data))
            rows.append({**about, "parameters": {"binary_data_size": len(binary[-1])}})
        else:
            rows.append({**about, "data": _json_data(output)})
    answer: dict[str, Any] = {"model_name": model, "model_version": version, "outputs": rows}
    if request.id is not None:
        answer["id"] = request.id
    head = json_body(answer)
    if not binary:
        return Raw(head, "application/json")
    return Raw(b"".join([head, *binary]), "application/octet-stream", {HEADER: str(len(head))})


def _header_length(body: bytes, text: str) -> int:
    if not text:
        return len(body)
    length = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1  # noqa: PLR2004
    if not 0 < length <= len(body):
        raise BadInputError(f"{HEADER} is not a length within the request body.")
    return length


def _objects(about: dict[str, Any], key: str) -> list[dict[str, Any]]:
    rows = about.get(key, [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BadInputError(f"The request's {key} are not a list of objects.")
    if len(rows) > _MAX_TENSORS:
        raise BadInputError(f"The request has more than {_MAX_TENSORS} {key}.")
    if any(not isinstance(row.get("name"), str) for row in rows):
        raise BadInputError(f"One of the request's {key} has no name.")
    names = [row["name"] for row in rows]
    if len(set(names)) != len(names):
        raise BadInputError(f"One of the request's {key} is given twice.")
    return rows


def _parameters(about: dict[str, Any]) -> dict[str, Any]:
    found = about.get("parameters")
    if found is not None and not isinstance(found, dict):
        raise BadInputError("parameters are not an object.")
    return found or {}


def _inputs(rows: list[dict[str, Any]], binary: memoryview) -> tuple[InputTensor, ...]:
    if not rows:
        raise BadInputError("The request has no inputs.")
    inputs, place = list[InputTensor](), 0
    for row in rows:
        name = row["name"]
        datatype = tensor_codec.require_datatype(name, row.get("datatype"))
        shape = tensor_codec.require_shape(name, row.get("shape"))
        size = _parameters(row).get("binary_data_size")
        if size is None:
            data = tensor_codec.from_json(name, datatype, shape, row.get("data"))
        else:
            part = _part(name, binary, place, size)
            place += len(part)
            data = tensor_codec.from_binary(name, datatype, shape, part)
        inputs.append(InputTensor(name, datatype, shape, data, size is not None))
    if place != len(binary):
        raise BadInputError(f"{len(binary) - place} bytes of binary data belong to no input.")
    return tuple(inputs)


def _part(name: str, binary: memoryview, place: int, size: Any) -> bytes:
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(binary) - place:
        raise BadInputError(
            f"binary_data_size of input {name} is not a number of bytes that follow the JSON."
        )
    return bytes(binary[place : place + size])


def _outputs(rows: list[dict[str, Any]], parameters: dict[str, Any]) -> list[WantedOutput]:
    default = parameters.get("binary_data_output") is True
    return [
        WantedOutput(row["name"], _parameters(row).get("binary_data", default) is True)
        for row in rows
    ]


def _chosen(
    request: InferRequest, outputs: Sequence[OutputTensor]
) -> list[tuple[OutputTensor, bool]]:
    if not request.outputs:
        return [(output, request.binary_outputs) for output in outputs]
    by_name = {output.name: output for output in outputs}
    missing = [row.name for row in request.outputs if row.name not in by_name]
    if missing:
        raise BadInputError(f"The model has no output {missing[0]}; it has {', '.join(by_name)}.")
    return [(by_name[row.name], row.binary) for row in request.outputs]


def _json_data(output: OutputTensor) -> list[Any]:
    if isinstance(output.data, list):
        try:
            return [element.decode("utf-8") for element in output.data]
        except UnicodeDecodeError as error:
            raise BadInputError(
                f"Output {output.name} is not text.", fix="ask for it as binary data."
            ) from error
    if output.data.dtype.kind == "f" and not np.isfinite(output.data).all():
        raise PredictionError(
            f"Output {output.name} has numbers that JSON has no word for; ask for binary data."
        )
    data: list[Any] = output.data.ravel().tolist()
    return data
