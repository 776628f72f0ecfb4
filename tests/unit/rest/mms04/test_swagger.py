"""The API description is that of 0.4, key by key (compatibility.md, 7.6)."""

from __future__ import annotations

from mms_server.archives.signature import Signature, Tensor
from mms_server.rest.mms04.swagger import describe

_IMAGE = "image/jpeg"
_JSON = "application/json"


def _signature(input_type: str, output_type: str, *inputs: Tensor) -> Signature:
    return Signature(inputs, input_type, (Tensor("softmax", (0, 10)),), output_type)


def test_an_image_model() -> None:
    signature = _signature(_IMAGE, _JSON, Tensor("data", (0, 3, 224, 224)))
    got = describe("127.0.0.1", 8080, {"resnet-18": signature})
    assert got["host"] == "127.0.0.1:8080"
    assert got["swagger"] == "2.0"
    assert got["schemes"] == ["http"]
    assert got["info"] == {"title": "Model Serving Apis", "version": "1.0.0"}
    assert got["paths"]["/resnet-18/predict"] == {
        "post": {
            "operationId": "resnet-18_predict",
            "consumes": ["multipart/form-data"],
            "produces": ["application/json"],
            "parameters": [
                {
                    "in": "formData",
                    "name": "data",
                    "required": "true",
                    "description": "data should be image which will be resized to: [3, 224, 224]",
                    "type": "file",
                }
            ],
            "responses": {
                "200": {
                    "description": "OK",
                    "schema": {"type": "object", "properties": {"prediction": {"type": "string"}}},
                }
            },
        }
    }


def test_a_json_model_with_two_inputs() -> None:
    signature = _signature(_JSON, _IMAGE, Tensor("a", (0, 3)), Tensor("b", (0,)))
    route = describe("h", 1, {"m": signature})["paths"]["/m/predict"]["post"]
    assert route["parameters"] == [
        {
            "in": "formData",
            "name": "a",
            "required": "true",
            "description": "a should tensor with shape: [3]",
            "schema": {"type": "string"},
        },
        {
            "in": "formData",
            "name": "b",
            "required": "true",
            "description": "b should tensor with shape: []",
            "schema": {"type": "string"},
        },
    ]
    assert route["produces"] == [_IMAGE]
    assert route["responses"] == {"200": {"description": "OK", "schema": {"type": "file"}}}


def test_the_fixed_routes() -> None:
    paths = describe("h", 1, {})["paths"]
    assert {path: route["get"]["operationId"] for path, route in paths.items()} == {
        "/": "root",
        "/ping": "ping",
        "/api-description": "api-description",
    }
    for path, key in (("/", "health"), ("/ping", "health"), ("/api-description", "description")):
        assert paths[path]["get"]["produces"] == [_JSON]
        assert paths[path]["get"]["responses"]["200"] == {
            "description": "OK",
            "schema": {"type": "object", "properties": {key: {"type": "string"}}},
        }
