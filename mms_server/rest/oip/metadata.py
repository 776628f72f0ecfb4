"""Metadata of server and models by the Open Inference Protocol; no engine is imported.

The protocol: https://github.com/kserve/open-inference-protocol, version 2, REST.
"""

from __future__ import annotations

from typing import Any, Final

import mms_server
from mms_server.archives.signature import IMAGE, Signature, Tensor
from mms_server.rest.model_registry import ModelFacts

BYTES: Final = "BYTES"
NUMBERS: Final = "FP32"
PLATFORM: Final = "mxnet"
EXTENSIONS: Final = ("binary_tensor_data",)
# A 1.x handler has no signature: it gets one element as its body, and returns one.
HANDLER_INPUT: Final = "body"
WHOLE_ANSWER: Final = "prediction"


def server() -> dict[str, Any]:
    """Return the answer to ``GET /v2``."""
    return {
        "name": "mms-hosts",
        "version": mms_server.__version__,
        "extensions": list(EXTENSIONS),
    }


def model(facts: ModelFacts) -> dict[str, Any]:
    """Return the answer to ``GET /v2/models/<model>``; -1 in a shape is any size."""
    return {
        "name": facts.name,
        "versions": [facts.version],
        "platform": PLATFORM,
        "inputs": inputs(facts.signature),
        "outputs": outputs(facts.signature),
    }


def inputs(signature: Signature | None) -> list[dict[str, Any]]:
    """Return the inputs: a picture is one element of BYTES, a list has numbers."""
    if signature is None:
        return [{"name": HANDLER_INPUT, "datatype": BYTES, "shape": [1]}]
    if signature.input_type == IMAGE:
        return [
            {"name": row.data_name, "datatype": BYTES, "shape": [1]} for row in signature.inputs
        ]
    return [_numbers(row) for row in signature.inputs]


def outputs(signature: Signature | None) -> list[dict[str, Any]]:
    """Return the outputs of the signature, which nothing checks against the model."""
    if signature is None:
        return [{"name": WHOLE_ANSWER, "datatype": BYTES, "shape": [1]}]
    return [_numbers(row) for row in signature.outputs]


def _numbers(row: Tensor) -> dict[str, Any]:
    shape = [-1, *(size or -1 for size in row.data_shape[1:])]
    return {"name": row.data_name, "datatype": NUMBERS, "shape": shape}
