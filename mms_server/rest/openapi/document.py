"""The OpenAPI 3 document of all routes (https://spec.openapis.org/oas/v3.0.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import mms_server
from mms_server.archives.signature import IMAGE, Signature
from mms_server.core.refusals import Routes, descriptions
from mms_server.inference.picture_formats import PICTURE_FORMATS
from mms_server.rest.openapi.schema import SCHEMAS, ref

_JSON: Final = "application/json"
_BINARY: Final = "application/octet-stream"
_MMS04, _MMS1, _OIP = "mms04", "mms1", "oip"


def openapi(models: Mapping[str, Signature | None], server_url: str) -> dict[str, Any]:
    """Return the document for these models, by endpoint name; None is a 1.x handler, any body."""
    paths = _host_paths()
    for name, signature in models.items():
        paths.update(_model_paths(name, signature))
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "MXNet models",
            "description": "Predictions by the routes of MXNet Model Server 0.4 and 1.x, and by "
            "the Open Inference Protocol 2.",
            "version": mms_server.__version__,
        },
        "servers": [{"url": server_url}],
        "tags": [{"name": name} for name in ("host", "0.4", "1.x", "oip")],
        "paths": paths,
        "components": {"schemas": SCHEMAS},
    }


def operation_id(name: str, operation: str) -> str:
    """Return ``<model>_<operation>``, as 0.4 names operations."""
    return f"{name}_{operation}"


def _host_paths() -> dict[str, Any]:
    name = _path_parameter("name", "endpoint name of the model")
    version = _path_parameter("version", "version of the model, as /models/<name> tells it")
    one, both = [name], [name, version]
    oip_model, oip_ready = ref("OipModel"), ref("OipModelReady")
    return {
        "/": _get("root", "host", "As /ping.", ref("Health"), unhealthy=ref("Health")),
        "/ping": _get(
            "ping", "host", "Whether all models are ready.", ref("Health"), unhealthy=ref("Health")
        ),
        "/api-description": _get(
            "api_description", "0.4", "The Swagger 2.0 object of 0.4.", ref("ApiDescription")
        ),
        "/metrics": {"get": _metrics()},
        "/openapi.json": _get("openapi", "host", "This document.", {"type": "object"}),
        "/models": _get("list_models", "1.x", "The models.", ref("ModelList"), parameters=_pages()),
        "/models/{name}": _get("describe_model", "1.x", "One model.", ref("Model"), parameters=one),
        "/{name}/ping": _get(
            "model_ping",
            "host",
            "Whether one model is ready.",
            ref("Health"),
            parameters=one,
            unhealthy=ref("Health"),
        ),
        "/invocations": {"post": _invocations()},
        "/v2": _get("oip_server", "oip", "About the server.", ref("OipServer")),
        "/v2/health/live": _get("oip_live", "oip", "Whether it runs.", ref("OipLive")),
        "/v2/health/ready": _get(
            "oip_ready",
            "oip",
            "Whether all models are ready.",
            ref("OipReady"),
            unhealthy=ref("OipReady"),
        ),
        "/v2/models/{name}": _get("oip_model", "oip", "One model.", oip_model, parameters=one),
        "/v2/models/{name}/ready": _get(
            "oip_model_ready",
            "oip",
            "Is it ready?",
            oip_ready,
            parameters=one,
            unhealthy=oip_ready,
        ),
        "/v2/models/{name}/versions/{version}": _get(
            "oip_model_version",
            "oip",
            "One version of a model.",
            oip_model,
            parameters=both,
        ),
        "/v2/models/{name}/versions/{version}/ready": _get(
            "oip_model_version_ready",
            "oip",
            "Is this version ready?",
            oip_ready,
            parameters=both,
            unhealthy=oip_ready,
        ),
    }


def _model_paths(name: str, signature: Signature | None) -> dict[str, Any]:
    version = _path_parameter("version", "version of the model, as /models/<name> tells it")
    forms = _any_body() if signature is None else _forms(signature)
    bare = _any_body() if signature is None else _bodies(signature)
    infer = {_JSON: {"schema": ref("InferRequest")}, _BINARY: {"schema": _file()}}
    inferred = {_JSON: {"schema": ref("InferResponse")}, _BINARY: {"schema": _file()}}
    headers = [_header("Inference-Header-Content-Length", "where the JSON ends")]
    answers: dict[str, Any] = {_JSON: {"schema": {}}} if signature else {"*/*": {"schema": {}}}
    wrapped = {_JSON: {"schema": ref("Prediction")}} if signature else answers
    return {
        f"/{name}/predict": {
            "post": _post(operation_id(name, "predict"), "0.4", forms, wrapped, _MMS04)
        },
        f"/predictions/{name}": {
            "post": _post(operation_id(name, "predictions"), "1.x", bare, answers, _MMS1)
        },
        f"/models/{name}/invoke": {
            "post": _post(operation_id(name, "invoke"), "1.x", bare, answers, _MMS1)
        },
        f"/v2/models/{name}/infer": {
            "post": {
                **_post(operation_id(name, "infer"), "oip", infer, inferred, _OIP),
                "parameters": headers,
            }
        },
        f"/v2/models/{name}/versions/{{version}}/infer": {
            "post": {
                **_post(operation_id(name, "version_infer"), "oip", infer, inferred, _OIP),
                "parameters": [version, *headers],
            }
        },
    }


def _invocations() -> dict[str, Any]:
    about = "Endpoint name; may be left out if one model is served."
    query = _query("model_name", about, {"type": "string"})
    answers: dict[str, Any] = {"*/*": {"schema": {}}}
    return {**_post("invocations", "1.x", _any_body(), answers, _MMS1), "parameters": [query]}


def _metrics() -> dict[str, Any]:
    text = {"schema": {"type": "string"}}
    kinds = dict.fromkeys(("text/plain", "application/openmetrics-text"), text)
    errors = _errors(_MMS04, Routes.METRICS)
    # nginx refuses by its allow-list, with its own page.
    errors["403"]["content"] = {"text/html": text}
    responses = {"200": _response("OK", kinds), **errors}
    return {
        "operationId": "metrics",
        "tags": ["host"],
        "summary": "What was counted, for Prometheus.",
        "responses": responses,
    }


def _get(
    operation: str,
    tag: str,
    summary: str,
    answer_schema: dict[str, Any],
    *,
    parameters: list[dict[str, Any]] | None = None,
    unhealthy: dict[str, Any] | None = None,
) -> dict[str, Any]:
    kind = {"oip": _OIP, "1.x": _MMS1}.get(tag, _MMS04)
    errors = _errors(kind, Routes.GET)
    if unhealthy:
        errors["503"]["content"][_JSON] = {"schema": unhealthy}
    responses = {"200": _response("OK", {_JSON: {"schema": answer_schema}}), **errors}
    about = {"operationId": operation, "tags": [tag], "summary": summary, "responses": responses}
    return {"get": {**about, "parameters": parameters} if parameters else about}


def _post(
    operation: str, tag: str, body: dict[str, Any], answers: dict[str, Any], kind: str
) -> dict[str, Any]:
    return {
        "operationId": operation,
        "tags": [tag],
        "summary": "Predict.",
        "requestBody": {"required": True, "content": body},
        "responses": {"200": _response("OK", answers), **_errors(kind, Routes.PREDICTION)},
    }


def _errors(kind: str, routes: Routes) -> dict[str, Any]:
    found = {str(status): text for status, text in descriptions(routes).items()}
    return {code: _response(text, _error_content(kind)) for code, text in found.items()}


def _error_content(kind: str) -> dict[str, Any]:
    # nginx and gunicorn answer some errors themselves, with HTML pages.
    own = {_MMS04: "Error", _MMS1: "Mms1Error", _OIP: "OipError"}[kind]
    return {_JSON: {"schema": ref(own)}, "text/html": {"schema": {"type": "string"}}}


def _response(description: str, content: dict[str, Any]) -> dict[str, Any]:
    about = "The client's, or one that was made; logs and certificates name it."
    headers = {"X-Request-Id": {"description": about, "schema": {"type": "string"}}}
    return {"description": description, "content": content, "headers": headers}


def _forms(signature: Signature) -> dict[str, Any]:
    """Return the forms of 0.4: files or text in base64 for pictures, text for lists."""
    names = [row.data_name for row in signature.inputs]
    is_image = signature.input_type == IMAGE
    texts = {
        name: {
            "type": "string",
            "description": "picture in base64" if is_image else "list, as JSON",
        }
        for name in names
    }
    files: dict[str, Any] = {name: _file() for name in names} if is_image else texts
    multipart: dict[str, Any] = {
        "schema": {"type": "object", "required": names, "properties": files}
    }
    if is_image:
        multipart["encoding"] = {name: {"contentType": IMAGE} for name in names}
    return {
        "multipart/form-data": multipart,
        "application/x-www-form-urlencoded": {
            "schema": {"type": "object", "required": names, "properties": texts}
        },
    }


def _bodies(signature: Signature) -> dict[str, Any]:
    """Return the bodies of 1.x: forms, JSON, and a picture as the whole body."""
    names = [row.data_name for row in signature.inputs]
    value: dict[str, Any] = {"type": "array", "items": {}}
    if signature.input_type == IMAGE:
        value = {"type": "string", "format": "byte"}
    fields = {"type": "object", "required": names, "properties": dict.fromkeys(names, value)}
    single = len(names) == 1
    json_schema = {"anyOf": [value, fields]} if single else fields
    content = {**_forms(signature), _JSON: {"schema": json_schema}}
    if signature.input_type == IMAGE and single:
        types = [row.media_type for row in PICTURE_FORMATS if row.media_type]
        content |= {each: {"schema": _file()} for each in (*types, _BINARY)}
    return content


def _any_body() -> dict[str, Any]:
    form = {"type": "object", "additionalProperties": {"type": "string"}}
    return {
        _JSON: {"schema": {}},
        _BINARY: {"schema": _file()},
        "multipart/form-data": {"schema": form},
    }


def _file() -> dict[str, Any]:
    return {"type": "string", "format": "binary"}


def _path_parameter(name: str, description: str) -> dict[str, Any]:
    about = {"in": "path", "name": name, "required": True, "description": description}
    return {**about, "schema": {"type": "string"}}


def _header(name: str, description: str) -> dict[str, Any]:
    schema = {"type": "integer", "minimum": 1}
    return {"in": "header", "name": name, "description": description, "schema": schema}


def _pages() -> list[dict[str, Any]]:
    limit = {"type": "integer", "minimum": 1, "maximum": 100}
    token = {"type": "integer", "minimum": 0}
    return [
        _query("limit", "most models in one answer", limit),
        _query("next_page_token", "nextPageToken of the answer before", token),
    ]


def _query(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"in": "query", "name": name, "description": description, "schema": schema}
