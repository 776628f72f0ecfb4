"""Tests of services with Gluon networks: attributes and behaviour of 0.4."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
import pytest
from PIL import Image

from mms.model_service.gluon_vision_service import GluonVisionService
from mms.model_service.mxnet_model_service import GluonImperativeBaseService, MXNetBaseService
from mms_server.core.errors import ServiceError
from mms_server.inference.model_loader import load_model
from mms_server.inference.services.gluon_service import unset_parameters
from mms_server.inference.warmup import warm_up

NET = """
from mxnet.gluon import nn


class Net(nn.{block}):
    def __init__(self):
        super().__init__()
        self.dense = nn.Dense(3, in_units=2)

    def forward(self, x):
        return self.dense(x)
"""
IMPERATIVE = (
    """
import mxnet as mx
from mms.model_service.mxnet_model_service import GluonImperativeBaseService
"""
    + NET.format(block="Block").replace("nn.Block", "mx.gluon.Block")
    + """

class Service(GluonImperativeBaseService):
    def __init__(self, model_name, model_dir, manifest, gpu=None):
        super().__init__(model_name, model_dir, manifest, Net(), gpu)
        {more}

    def _preprocess(self, data):
        return map(mx.nd.array, data)

    def _inference(self, data):
        super()._inference(data)
        return [self.net(*data)]

    def _postprocess(self, data):
        return [row.asnumpy().tolist() for row in data]
"""
)
VISION = """
import mxnet as mx
from mms.model_service.gluon_vision_service import GluonVisionService


class Means(mx.gluon.HybridBlock):
    def hybrid_forward(self, F, x):
        means = F.mean(x, axis=(2, 3))
        return {answer}


class Vision(GluonVisionService):
    def __init__(self, model_name, model_dir, manifest, gpu=None):
        net = Means()
        net.hybridize()
        super().__init__(model_name, model_dir, manifest, net, gpu)
"""


def write(
    directory: Path,
    service: str,
    *,
    shape: tuple[int, ...] = (0, 2),
    kind: str = "application/json",
    parameters: dict[str, Any] | None = None,
) -> Path:
    directory.mkdir(exist_ok=True)
    (directory / "service.py").write_text(service)
    if parameters is not None:
        mx.nd.save(str(directory / "net.params"), parameters)
    signature = {
        "inputs": [{"data_name": "data", "data_shape": list(shape)}],
        "input_type": kind,
        "outputs": [],
        "output_type": "application/json",
    }
    (directory / "signature.json").write_text(json.dumps(signature))
    model = {
        "Model-Name": "net",
        "Model-Format": "Gluon-Imperative",
        "Service": "service.py",
        "Signature": "signature.json",
        "Symbol": "",
        "Parameters": "" if parameters is None else "*.params",
    }
    text = {"Model": model, "Engine": {}, "Model-Archive-Version": 0.2, "Model-Server": 0.4}
    (directory / "MANIFEST.json").write_text(json.dumps(text))
    return directory


def values() -> dict[str, Any]:
    return {
        "dense.weight": mx.nd.array([[1, 0], [0, 1], [1, 1]]),
        "dense.bias": mx.nd.array([0, 0, 10]),
    }


def test_a_service_has_the_attributes_of_0_4(tmp_path: Path) -> None:
    write(tmp_path, IMPERATIVE.format(more=""), parameters=values())
    (tmp_path / "synset.txt").write_text(" one \ntwo\n")
    model = load_model("net", tmp_path)
    service = model.service
    assert isinstance(service, GluonImperativeBaseService)
    assert not isinstance(service, MXNetBaseService)
    assert service.inference([[[3, 4]]]) == [[[3.0, 4.0, 17.0]]]
    assert (service.model_name, service.param_filename) == ("net", "net.params")
    assert service.labels == ["one", "two"]
    assert service.ctx == mx.cpu()
    assert service.signature == service._signature
    assert service.ping() == mx.__version__
    warm_up(model)
    with pytest.raises(ValueError, match="different shape"):
        service.inference([[[3, 4, 5]]])


def test_stages_that_are_not_overridden_return_none(tmp_path: Path) -> None:
    write(tmp_path, IMPERATIVE.format(more=""), parameters=values())
    manifest = json.loads((tmp_path / "MANIFEST.json").read_text())
    manifest["Model"]["Parameters"] = ""
    service = GluonImperativeBaseService("net", str(tmp_path), manifest)
    assert service.net is None
    assert service._preprocess([1]) is None
    assert service._inference([mx.nd.zeros((1, 2))]) is None
    assert service._postprocess([1]) is None


SCOPED = IMPERATIVE.replace(
    "        self.dense =", "        with self.name_scope():\n            self.dense ="
)


@pytest.mark.parametrize(
    ("prefix", "more"),
    [
        ("dense0_", ""),
        ("net0_dense0_", "self.net.collect_params().load(model_dir + '/net.params')"),
    ],
)
def test_names_of_parameters_do_not_depend_on_models_loaded_before(
    tmp_path: Path, prefix: str, more: str
) -> None:
    old = {key.replace("dense.", prefix): value for key, value in values().items()}
    write(tmp_path, SCOPED.format(more=more), parameters=old)
    for _ in range(2):
        service = load_model("net", tmp_path).service
        assert service.inference([[[3, 4]]]) == [[[3.0, 4.0, 17.0]]]


@pytest.mark.parametrize("parameters", [None, {"other.weight": mx.nd.zeros((1,))}])
def test_a_network_with_unset_parameters_is_refused(tmp_path: Path, parameters: Any) -> None:
    write(tmp_path, IMPERATIVE.format(more=""), parameters=parameters)
    with pytest.raises(ServiceError, match=r"model net has no values for .*dense0_bias"):
        load_model("net", tmp_path)


@pytest.mark.parametrize("parameters", [None, {"other.weight": mx.nd.zeros((1,))}])
def test_a_subclass_may_initialize_its_network(
    tmp_path: Path, parameters: Any, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, IMPERATIVE.format(more="self.net.initialize()"), parameters=parameters)
    load_model("net", tmp_path).service.inference([[[3, 4]]])
    assert ("net.params could not be loaded" in caplog.text) == (parameters is not None)


def test_an_initialized_parameter_counts_as_set_without_a_shape() -> None:
    net = mx.gluon.nn.Dense(3)
    assert len(unset_parameters(net)) == 2
    net.initialize()
    assert unset_parameters(net) == []
    assert unset_parameters(object()) == []


def encoded(color: tuple[int, int, int], *, side: int = 20) -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (side, side), color).save(target, "PNG")
    return target.getvalue()


def vision(directory: Path, answer: str = "means") -> Path:
    write(directory, VISION.format(answer=answer), shape=(0, 3, 8, 6), kind="image/jpeg")
    (directory / "synset.txt").write_text("red\ngreen\nblue\n")
    return directory


@pytest.mark.parametrize("answer", ["means", "[means, means]"])
def test_images_are_normalized_and_scores_are_softmax(tmp_path: Path, answer: str) -> None:
    model = load_model("net", vision(tmp_path, answer))
    warm_up(model)
    (batch,) = model.service._preprocess([encoded((255, 51, 0))])
    pixel = (np.array([1.0, 0.2, 0.0]) - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    assert (batch.shape, batch.dtype) == ((1, 3, 8, 6), np.float32)
    assert np.allclose(batch.asnumpy()[0, :, 4, 3], pixel, atol=1e-5)
    answers = model.service.inference([encoded((255, 51, 0))])
    assert len(answers) == (2 if answer.startswith("[") else 1)
    probabilities = np.exp(pixel) / np.exp(pixel).sum()
    for rows in answers:
        assert [row["class"] for row in rows] == ["red", "green", "blue"]
        assert np.allclose([row["probability"] for row in rows], probabilities, atol=1e-5)


def test_outputs_may_be_one_bare_array(tmp_path: Path) -> None:
    service = load_model("net", vision(tmp_path)).service
    (rows,) = service._postprocess(mx.nd.array([[0.2, 0.5, 0.3]]))
    assert [row["class"] for row in rows] == ["green", "blue", "red"]


def test_without_labels_the_error_names_synset(tmp_path: Path) -> None:
    vision(tmp_path)
    (tmp_path / "synset.txt").unlink()
    with pytest.raises(RuntimeError, match="Did you put synset"):
        load_model("net", tmp_path).service.inference([encoded((1, 2, 3))])


def test_warm_up_finds_a_vision_network_that_cannot_compute(tmp_path: Path) -> None:
    model = load_model("net", vision(tmp_path, "F.dot(means, means)"))
    with pytest.raises(ServiceError, match="fails in a first run"):
        warm_up(model)


def test_the_gpu_is_passed_by_name(tmp_path: Path) -> None:
    plain = "from mms.model_service.mxnet_model_service import GluonImperativeBaseService\n"
    write(tmp_path, plain)
    service = load_model("net", tmp_path).service
    assert type(service) is GluonImperativeBaseService
    assert service.net is None
    assert issubclass(GluonVisionService, GluonImperativeBaseService)
