"""The Swagger 2.0 object of ``GET /api-description`` (compatibility.md, 7.6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mms_server.archives.signature import IMAGE, Signature


def describe(host: str, port: int, signatures: Mapping[str, Signature | None]) -> dict[str, Any]:
    """Return the value of ``description`` for the models in ``signatures`` (by endpoint name)."""
    paths: dict[str, Any] = {
        "/": {"get": _fixed_route("root", "health")},
        "/ping": {"get": _fixed_route("ping", "health")},
        "/api-description": {"get": _fixed_route("api-description", "description")},
    }
    for name, signature in signatures.items():
        paths[f"/{name}/predict"] = {"post": _predict_route(name, signature)}
    return {
        "swagger": "2.0",
        "info": {"title": "Model Serving Apis", "version": "1.0.0"},
        "host": f"{host}:{port}",
        "schemes": ["http"],
        "paths": paths,
    }


def _fixed_route(operation: str, key: str) -> dict[str, Any]:
    return {
        "operationId": operation,
        "produces": ["application/json"],
        "responses": _ok(_object_with(key)),
    }


def _predict_route(name: str, signature: Signature | None) -> dict[str, Any]:
    if signature is None:
        return _handler_route(name)
    is_file = signature.output_type == IMAGE
    return {
        "operationId": f"{name}_predict",
        "consumes": ["multipart/form-data"],
        "produces": [signature.output_type],
        "parameters": [
            _parameter(tensor.data_name, list(tensor.data_shape), signature.input_type)
            for tensor in signature.inputs
        ],
        "responses": _ok({"type": "file"} if is_file else _object_with("prediction")),
    }


def _handler_route(name: str) -> dict[str, Any]:
    """Describe a 1.x handler: it reads the whole request, so any body is possible."""
    return {
        "operationId": f"{name}_predict",
        "consumes": ["application/json", "application/octet-stream", "multipart/form-data"],
        "produces": ["application/json"],
        "parameters": [{"in": "body", "name": "body", "schema": {}}],
        "responses": _ok(_object_with("prediction")),
    }


def _parameter(field: str, shape: list[int], input_type: str) -> dict[str, Any]:
    # "true" is text, not a boolean, as in 0.4: clients are generated from this document.
    common = {"in": "formData", "name": field, "required": "true"}
    if input_type == IMAGE:
        text = f"{field} should be image which will be resized to: {shape[1:]}"
        return {**common, "description": text, "type": "file"}
    text = f"{field} should tensor with shape: {shape[1:]}"
    return {**common, "description": text, "schema": {"type": "string"}}


def _ok(schema: dict[str, Any]) -> dict[str, Any]:
    return {"200": {"description": "OK", "schema": schema}}


def _object_with(key: str) -> dict[str, Any]:
    return {"type": "object", "properties": {key: {"type": "string"}}}
