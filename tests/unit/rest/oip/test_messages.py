"""Requests of the Open Inference Protocol are parsed, or refused with the reason."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from mms_server.core.errors import BadInputError, PredictionError
from mms_server.rest.oip.messages import HEADER, OutputTensor, read, write

ROW = {"name": "x", "datatype": "FP32", "shape": [1], "data": [1.5]}
BINARY = {"name": "x", "datatype": "FP32", "shape": [1], "parameters": {"binary_data_size": 4}}


def message(*inputs: Any, **more: Any) -> bytes:
    return json.dumps({"inputs": list(inputs), **more}).encode()


def test_a_request_in_json() -> None:
    request = read(message(ROW, id="a", outputs=[{"name": "y"}]), "")
    (tensor,) = request.inputs
    assert (request.id, tensor.name, tensor.data.tolist()) == ("a", "x", [1.5])
    assert [(row.name, row.binary) for row in request.outputs] == [("y", False)]


def test_a_request_with_binary_data() -> None:
    head = message(BINARY, {**BINARY, "name": "z"}, parameters={"binary_data_output": True})
    data = np.array([1, 2], "<f4").tobytes()
    request = read(head + data, str(len(head)))
    assert [row.data.tolist() for row in request.inputs] == [[1], [2]]
    assert request.binary_outputs


@pytest.mark.parametrize("length", ["0", "-1", "x", "1" * 30, "999", "+5", "٣"])
def test_a_header_length_out_of_range(length: str) -> None:
    with pytest.raises(BadInputError, match=HEADER):
        read(message(ROW), length)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"1",
        b"\xff",
        b'{"inputs":' + b"[" * 100_000,
        message(),
        message(1),
        message({}),
        message({**ROW, "name": 1}),
        message(ROW, ROW),
        message({**ROW, "parameters": 1}),
        message(ROW, outputs=[{}]),
        message(ROW, outputs={}),
        message(ROW, id=1),
        message(ROW, parameters=[]),
        message({**ROW, "data": [float("nan")]}),
        message(*({**ROW, "name": str(number)} for number in range(1001))),
    ],
)
def test_malformed_requests(body: bytes) -> None:
    with pytest.raises(BadInputError):
        read(body, "")


@pytest.mark.parametrize("size", [-1, 3, 5, 4.0, True, "4", 2**70])
def test_a_wrong_binary_size(size: Any) -> None:
    head = message({**BINARY, "parameters": {"binary_data_size": size}})
    with pytest.raises(BadInputError):
        read(head + b"\0" * 4, str(len(head)))


def test_binary_data_that_belong_to_no_input() -> None:
    head = message(BINARY)
    assert read(head + b"\0" * 4, str(len(head))).inputs
    with pytest.raises(BadInputError, match="1 bytes"):
        read(head + b"\0" * 5, str(len(head)))


def test_outputs_are_in_the_order_of_the_request() -> None:
    outputs = [OutputTensor("a", np.zeros((1, 2), np.float32)), OutputTensor("b", [b"text"])]
    request = read(message(ROW, id="1", outputs=[{"name": "b"}, {"name": "a"}]), "")
    answer = json.loads(write("m", "1", request, outputs).body)
    assert answer["id"] == "1"
    assert [row["name"] for row in answer["outputs"]] == ["b", "a"]
    assert answer["outputs"][0]["data"] == ["text"]
    assert answer["outputs"][1] == {
        "name": "a",
        "datatype": "FP32",
        "shape": [1, 2],
        "data": [0.0, 0.0],
    }


def test_binary_answers_stand_behind_the_json() -> None:
    wanted = [{"name": "a", "parameters": {"binary_data": True}}]
    request = read(message(ROW, outputs=wanted), "")
    raw = write("m", "1", request, [OutputTensor("a", np.array([np.nan], np.float32))])
    split = int(raw.headers[HEADER])
    about = json.loads(raw.body[:split])
    assert about["outputs"][0]["parameters"] == {"binary_data_size": 4}
    assert np.isnan(np.frombuffer(raw.body[split:], "<f4")).all()


def test_an_unknown_output() -> None:
    request = read(message(ROW, outputs=[{"name": "y"}]), "")
    with pytest.raises(BadInputError, match="no output y"):
        write("m", "1", request, [OutputTensor("a", [b""])])


def test_outputs_that_json_cannot_write() -> None:
    request = read(message(ROW), "")
    with pytest.raises(PredictionError, match="binary"):
        write("m", "1", request, [OutputTensor("a", np.array([np.inf], np.float32))])
    with pytest.raises(BadInputError, match="binary"):
        write("m", "1", request, [OutputTensor("a", [b"\xff"])])
