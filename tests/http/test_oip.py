"""Tests of the Open Inference Protocol 2 on a real server: tensors, errors, metadata, health."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from tests.fixtures import models
from tests.fixtures.servers import Answer, Server

HEADER = "Inference-Header-Content-Length"
LEFT = {"name": "left", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}
RIGHT = {"name": "right", "shape": [1, 3], "datatype": "INT64", "data": [[1, 1, 1]]}


def infer(server: Server, model: str, *inputs: Any, **more: Any) -> Answer:
    body = json.dumps({"inputs": list(inputs), **more}).encode()
    return server.request("POST", f"/v2/models/{model}/infer", body)


def test_tensors_in_json(server: Server) -> None:
    answer = infer(server, "pair", LEFT, RIGHT, id="7")
    assert answer.status == 200
    assert answer.json == {
        "id": "7",
        "model_name": "pair",
        "model_version": "1",
        "outputs": [{"name": "out", "datatype": "FP32", "shape": [1, 3], "data": [4.0, 6.0, 8.0]}],
    }


def test_binary_tensors(server: Server) -> None:
    rows = [
        {"name": name, "shape": [2, 3], "datatype": "FP32", "parameters": {"binary_data_size": 24}}
        for name in ("left", "right")
    ]
    about = {"inputs": rows, "parameters": {"binary_data_output": True}}
    head = json.dumps(about).encode()
    left, right = np.arange(6, dtype="<f4"), np.ones(6, "<f4")
    answer = server.request(
        "POST",
        "/v2/models/pair/infer",
        head + left.tobytes() + right.tobytes(),
        {HEADER: str(len(head)), "Content-Type": "application/octet-stream"},
    )
    split = int(answer.headers[HEADER])
    assert json.loads(answer.body[:split])["outputs"][0]["shape"] == [2, 3]
    assert np.array_equal(np.frombuffer(answer.body[split:], "<f4"), 2 * (left + right))


@pytest.mark.parametrize("binary", [True, False])
def test_an_image_as_a_bytes_tensor(server: Server, binary: bool) -> None:
    data = models.picture((255, 255, 0))
    row: dict[str, Any] = {"name": "data", "shape": [1], "datatype": "BYTES"}
    if binary:
        element = len(data).to_bytes(4, "little") + data
        row["parameters"] = {"binary_data_size": len(element)}
        head = json.dumps({"inputs": [row]}).encode()
        path = "/v2/models/colors/infer"
        answer = server.request("POST", path, head + element, {HEADER: str(len(head))})
    else:
        answer = infer(server, "colors", {**row, "data": [base64.b64encode(data).decode()]})
    (output,) = answer.json["outputs"]
    assert output["shape"] == [1, len(models.CLASSES)]
    assert models.CLASSES[int(np.argmax(output["data"]))] == "yellow"


def test_a_service_whose_answer_is_no_tensor(server: Server) -> None:
    row = {"name": "order", "shape": [1, 1], "datatype": "FP32", "data": [-2]}
    assert infer(server, "scripted", row).status == 500
    plain = infer(server, "scripted", {**row, "data": [0]}).json["outputs"][0]
    assert (plain["datatype"], plain["data"]) == ("FP32", [0.0])


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ([LEFT], "left, right"),
        ([LEFT, RIGHT, {**RIGHT, "name": "more"}], "left, right"),
        ([LEFT, {**RIGHT, "shape": [1, 4]}], "elements"),
        ([LEFT, {**RIGHT, "shape": [1, 2], "data": [1, 1]}], "takes [-1, 3]"),
        ([LEFT, {**RIGHT, "shape": [3]}], "takes [-1, 3]"),
        ([LEFT, {**RIGHT, "datatype": "FP99"}], "datatype"),
        ([LEFT, {**RIGHT, "data": ["a", "b", "c"]}], "INT64"),
        ([LEFT, {**RIGHT, "shape": [-1, 3]}], "shape"),
        ([LEFT, {**RIGHT, "datatype": "BYTES", "data": ["a", "b", "c"]}], "numbers"),
    ],
)
def test_errors(server: Server, inputs: list[Any], text: str) -> None:
    answer = infer(server, "pair", *inputs)
    assert answer.status == 400
    assert set(answer.json) == {"error"}
    assert text in answer.json["error"]


def test_unknown_models_and_versions_are_404(server: Server) -> None:
    for path in ("/v2/models/nobody/infer", "/v2/models/pair/versions/9/infer"):
        answer = server.request("POST", path, b"{}")
        assert answer.status == 404
        assert set(answer.json) == {"error"}
    for path in ("/v2/models/nobody", "/v2/models/nobody/ready", "/v2/models/pair/versions/9"):
        assert server.request("GET", path).status == 404
    body = json.dumps({"inputs": [LEFT, RIGHT]}).encode()
    assert server.request("POST", "/v2/models/pair/versions/1/infer", body).status == 200


def test_metadata_and_health(server: Server) -> None:
    about = server.request("GET", "/v2").json
    assert about["extensions"] == ["binary_tensor_data"]
    assert server.request("GET", "/v2/health/live").json == {"live": True}
    assert server.request("GET", "/v2/health/ready").json == {"ready": True}
    assert server.request("GET", "/v2/models/pair/ready").json == {"name": "pair", "ready": True}
    assert server.request("GET", "/v2/models/pair/versions/1").json == {
        "name": "pair",
        "versions": ["1"],
        "platform": "mxnet",
        "inputs": [
            {"name": name, "datatype": "FP32", "shape": [-1, 3]} for name in ("left", "right")
        ],
        "outputs": [{"name": "out", "datatype": "FP32", "shape": [-1, 1]}],
    }
    inputs = server.request("GET", "/v2/models/colors").json["inputs"]
    assert inputs == [{"name": "data", "datatype": "BYTES", "shape": [1]}]
