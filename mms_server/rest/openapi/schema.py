"""The named schemas of the OpenAPI document."""

from __future__ import annotations

from typing import Any, Final

_STRING: Final = {"type": "string"}
_BOOLEAN: Final = {"type": "boolean"}
_COUNT: Final = {"type": "integer", "minimum": 0}
_DATATYPES: Final = (
    *("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"),
    *("FP16", "FP32", "FP64", "BYTES"),
)


def ref(name: str) -> dict[str, Any]:
    """Return a reference to a named schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def _object(
    required: dict[str, dict[str, Any]], optional: dict[str, dict[str, Any]] | None = None
) -> dict[str, Any]:
    properties = {**required, **(optional or {})}
    return {"type": "object", "required": list(required), "properties": properties}


def _list(of: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": of, **more}


def _tensor(**more: dict[str, Any]) -> dict[str, Any]:
    datatype: dict[str, Any] = {"type": "string", "enum": list(_DATATYPES)}
    shape = _list({"type": "integer", "minimum": 1}, maxItems=32)
    required = {"name": _STRING, "datatype": datatype, "shape": shape}
    return _object(required, {"parameters": {"type": "object"}, **more})


def _tensor_about() -> dict[str, Any]:
    shape = _list({"type": "integer", "minimum": -1})
    return _object({"name": _STRING, "datatype": _STRING, "shape": shape})


SCHEMAS: Final[dict[str, Any]] = {
    "Health": _object(
        {"health": {"type": "string", "enum": ["healthy!", "unhealthy!"]}},
        # Why a model is not ready, by its name.
        {"models": {"type": "object", "additionalProperties": _STRING}},
    ),
    "ApiDescription": _object({"description": {"type": "object"}}),
    "Prediction": _object({"prediction": {}}),
    "Error": _object(
        {
            "error": _object(
                {"code": _COUNT, "name": _STRING, "text": _STRING}, {"request_id": _STRING}
            )
        }
    ),
    "Mms1Error": _object({"code": _COUNT, "type": _STRING, "message": _STRING}),
    "ModelSummary": _object({"modelName": _STRING, "modelVersion": _STRING, "status": _STRING}),
    "ModelList": _object({"models": _list(ref("ModelSummary"))}, {"nextPageToken": _STRING}),
    "Model": _object(
        {
            "modelName": _STRING,
            "modelVersion": _STRING,
            "status": _STRING,
            "minWorkers": _COUNT,
            "maxWorkers": _COUNT,
            "batchSize": _COUNT,
            "engine": _STRING,
            "workers": _list(_object({"id": _STRING, "status": _STRING})),
            "inputs": _list(ref("TensorMetadata")),
            "outputs": _list(ref("TensorMetadata")),
        },
        {"reason": _STRING},
    ),
    "TensorMetadata": _tensor_about(),
    "OipServer": _object({"name": _STRING, "version": _STRING, "extensions": _list(_STRING)}),
    "OipLive": _object({"live": _BOOLEAN}),
    "OipReady": _object({"ready": _BOOLEAN}),
    "OipModelReady": _object({"name": _STRING, "ready": _BOOLEAN}),
    "OipModel": _object(
        {
            "name": _STRING,
            "platform": _STRING,
            "versions": _list(_STRING),
            "inputs": _list(ref("TensorMetadata")),
            "outputs": _list(ref("TensorMetadata")),
        }
    ),
    "OipError": _object({"error": _STRING}),
    "RequestInput": _tensor(data=_list({})),
    "RequestOutput": _object({"name": _STRING}, {"parameters": {"type": "object"}}),
    "ResponseOutput": _tensor(data=_list({})),
    "InferRequest": _object(
        {"inputs": _list(ref("RequestInput"), minItems=1)},
        {
            "id": _STRING,
            "parameters": {"type": "object"},
            "outputs": _list(ref("RequestOutput")),
        },
    ),
    "InferResponse": _object(
        {
            "model_name": _STRING,
            "model_version": _STRING,
            "outputs": _list(ref("ResponseOutput")),
        },
        {"id": _STRING},
    ),
}
