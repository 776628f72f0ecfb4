"""Tests of ONNX models in the exporter: conversion with MXNet's importer, and predictions."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from mms_server.archives.extract import unpack
from mms_server.core.errors import ArchiveError
from mms_server.export import export_model, onnx_import
from mms_server.export.signature_file import rename_first_input
from mms_server.inference.model_loader import load_model

# These tests start child processes that import MXNet.
pytestmark = pytest.mark.slow

FLOAT = TensorProto.FLOAT


def weights() -> dict[str, Any]:
    random = np.random.default_rng(3)
    shapes = {"kernel": (4, 3, 3, 3), "bias": (4,), "w": (144, 5), "b": (5,)}
    return {
        name: random.normal(scale=0.02, size=shape).astype("f") for name, shape in shapes.items()
    }


def write_onnx(file: Path, *, listed: bool, opset: int = 9, operator: str = "Relu") -> None:
    """Write a small convolutional network; with ``listed``, the weights are inputs too."""
    nodes = [
        helper.make_node("Conv", ["input_0", "kernel", "bias"], ["c"], kernel_shape=[3, 3]),
        helper.make_node(operator, ["c"], ["r"]),
        helper.make_node("Flatten", ["r"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "b"], ["g"]),
        helper.make_node("Softmax", ["g"], ["out"], axis=1),
    ]
    values = [numpy_helper.from_array(array, name) for name, array in weights().items()]
    inputs = [helper.make_tensor_value_info("input_0", FLOAT, [1, 3, 8, 8])]
    if listed:
        inputs += [helper.make_tensor_value_info(each.name, FLOAT, each.dims) for each in values]
    outputs = [helper.make_tensor_value_info("out", FLOAT, [1, 5])]
    graph = helper.make_graph(nodes, "net", inputs, outputs, values)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]), file)


def source(directory: Path, **options: Any) -> Path:
    directory.mkdir()
    write_onnx(directory / "super net.onnx", **options)
    signature = {
        "inputs": [{"data_name": "data", "data_shape": [0, 3, 8, 8]}],
        "input_type": "image/jpeg",
        "outputs": [{"data_name": "out", "data_shape": [0, 5]}],
        "output_type": "application/json",
    }
    (directory / "signature.json").write_text(json.dumps(signature))
    (directory / "synset.txt").write_text("a\nb\nc\nd\ne\n")
    return directory


def expected(pixels: Any) -> Any:
    """Return the network's probabilities, computed with numpy, for an image of one color."""
    params = weights()
    convolved = (params["kernel"] * pixels[None, :, None, None]).sum((1, 2, 3)) + params["bias"]
    flat = np.repeat(np.maximum(convolved, 0), 36)
    scores = flat @ params["w"] + params["b"]
    return np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()


@pytest.mark.parametrize(("listed", "opset"), [(True, 9), (False, 11)])
def test_a_converted_model_predicts_what_the_onnx_model_computes(
    tmp_path: Path, listed: bool, opset: int
) -> None:
    directory = source(tmp_path / "model", listed=listed, opset=opset)
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    archive = export_model("net", str(directory), None, str(tmp_path / "net.model"))
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before
    with zipfile.ZipFile(archive) as opened:
        assert opened.namelist() == [
            "signature.json",
            "super net-0000.params",
            "super net-symbol.json",
            "synset.txt",
            "mxnet_vision_service.py",
            "MANIFEST.json",
        ]
        data_name = json.loads(opened.read("signature.json"))["inputs"][0]["data_name"]
        model = json.loads(opened.read("MANIFEST.json"))["Model"]
    assert data_name == "input_0"
    assert model["Symbol"] == "super net-symbol.json"
    unpack(archive, tmp_path / "unpacked")
    picture = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 100, 50)).save(picture, "PNG")
    service = load_model("net", tmp_path / "unpacked").service
    (rows,) = service.inference([picture.getvalue()])
    found = {row["class"]: row["probability"] for row in rows}
    probabilities = expected(np.array([200.0, 100.0, 50.0]))
    assert np.allclose([found[name] for name in "abcde"], probabilities, atol=1e-5)


def test_the_same_bytes_on_every_run(tmp_path: Path) -> None:
    directory = source(tmp_path / "model", listed=False)
    pair = [export_model("n", str(directory), None, str(tmp_path / f"{n}.model")) for n in (1, 2)]
    assert pair[0].read_bytes() == pair[1].read_bytes()


def convert(file: Path, scratch: Path) -> list[str]:
    return onnx_import.convert(file, scratch / "a-symbol.json", scratch / "a-0000.params")


def test_an_operator_that_mxnet_lacks_is_refused(tmp_path: Path) -> None:
    write_onnx(tmp_path / "net.onnx", listed=True, opset=14, operator="HardSwish")
    with pytest.raises(ArchiveError, match="cannot convert this ONNX model: NotImplementedError"):
        convert(tmp_path / "net.onnx", tmp_path)


@pytest.mark.parametrize(
    ("signature_inputs", "network_inputs", "names"),
    [
        (["data"], ["input_0"], ["input_0"]),
        (["input_0"], ["input_0"], ["input_0"]),
        (["b", "a"], ["a", "b"], ["b", "a"]),
        (["x", "b"], ["a", "b"], ["a", "b"]),
        (["x", "a"], ["a", "b"], ["b", "a"]),
        (["x"], [], ["x"]),
    ],
)
def test_the_first_input_is_renamed_to_an_input_of_the_network(
    signature_inputs: list[str], network_inputs: list[str], names: list[str]
) -> None:
    inputs = [{"data_name": name} for name in signature_inputs]
    text = json.dumps({"inputs": inputs, "kept": 1})
    data = json.loads(rename_first_input(text, network_inputs))
    assert [spec["data_name"] for spec in data["inputs"]] == names
    assert data["kept"] == 1
