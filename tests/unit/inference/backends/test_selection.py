"""Networks on other engines: real conversions of small networks, and what is refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import mxnet as mx
import numpy as np
import onnxruntime
import pytest

from mms_server.archives.golden_samples import Sample
from mms_server.archives.signature import Signature
from mms_server.config import backend_names
from mms_server.core.errors import EngineError
from mms_server.inference.backends import onnx_export, selection
from mms_server.inference.backends.onnx_export import ConversionError
from mms_server.inference.backends.onnx_module import OnnxModule
from mms_server.inference.backends.selection import BackendChoice
from mms_server.inference.batching.batch_benchmark import choose_batch_computer
from mms_server.inference.batching.batch_compute import network_of
from mms_server.inference.services.module import bound_shape
from mms_server.inference.services.mxnet_model_service import MXNetBaseService
from mms_server.inference.warmup import warm_up

SIDE, CLASSES = 8, 4
SHAPE = [0, 1, SIDE, SIDE]


def signature(shape: list[int]) -> dict[str, Any]:
    return {
        "inputs": [{"data_name": "data", "data_shape": shape}],
        "input_type": "application/json",
        "outputs": [],
        "output_type": "application/json",
    }


class Service(MXNetBaseService):
    """The base service around a network that is given, with weights from a seed."""

    def __init__(self, symbol: Any, shape: list[int] | None = None) -> None:
        self.ctx = mx.cpu()
        self._signature = signature(shape or SHAPE)
        self.mx_model = mx.mod.Module(symbol, data_names=["data"], label_names=None)
        self.mx_model.bind([("data", bound_shape(shape or SHAPE))], for_training=False)
        mx.random.seed(3)
        arguments = symbol.infer_shape(data=bound_shape(shape or SHAPE))[0]
        sizes = dict(zip(symbol.list_arguments(), arguments, strict=True))
        values = {
            name: mx.nd.random.normal(scale=0.3, shape=size)
            for name, size in sizes.items()
            if name != "data" and not name.endswith("_label")
        }
        self.mx_model.set_params(values, {}, allow_missing=True)


def convolution() -> Any:
    data = mx.sym.Variable("data")
    layer = mx.sym.Convolution(data, kernel=(3, 3), num_filter=8, name="conv")
    layer = mx.sym.Activation(layer, act_type="relu", name="relu")
    return mx.sym.FullyConnected(mx.sym.flatten(layer), num_hidden=CLASSES, name="fc")


def softmax() -> Any:
    return mx.sym.SoftmaxOutput(convolution(), name="softmax")


def model(service: Any) -> Any:
    text = json.dumps(service.signature)
    return SimpleNamespace(
        name="m", service=service, signature=Signature.from_json(text, "signature.json")
    )


def samples(count: int, shape: tuple[int, ...] = (1, 1, SIDE, SIDE)) -> list[Sample]:
    rng = np.random.default_rng(5)
    return [Sample((rng.random(shape).tolist(),)) for _ in range(count)]


def answers(service: Any, asked: list[Sample]) -> list[Any]:
    rows = (service._preprocess(list(one.inputs)) for one in asked)
    # The next forward is computed into the same arrays.
    return [service._inference(row)[0].asnumpy().copy() for row in rows]


@pytest.mark.parametrize("symbol", [convolution, softmax])
@pytest.mark.parametrize("engine", [backend_names.INT8, backend_names.ONNXRUNTIME])
def test_an_engine_answers_as_the_reference_does(engine: str, symbol: Callable[[], Any]) -> None:
    """A label that nobody gives, as of SoftmaxOutput, is no input of the other engine."""
    service, asked = Service(symbol()), samples(8)
    before, reference = answers(service, asked), service.mx_model
    found = selection.give(model(service), BackendChoice(engine, 0.05), asked)
    assert found is not None
    assert (found.inputs, found.fault) == (8, "")
    assert service.mx_model is not reference
    for one, other in zip(before, answers(service, asked), strict=True):
        np.testing.assert_allclose(one, other, atol=0.05 * np.abs(one).max())


def test_int8_is_another_computation() -> None:
    service, asked = Service(convolution()), samples(8)
    found = selection.give(model(service), BackendChoice(backend_names.INT8, 0.05), asked)
    assert found is not None
    assert 1e-5 < found.share < 0.05
    assert "quantized" in service.mx_model.symbol.tojson()


def test_quantizing_fills_no_journal(capfd: pytest.CaptureFixture[str]) -> None:
    service, asked = Service(convolution()), samples(2)
    selection.give(model(service), BackendChoice(backend_names.INT8, 1.0), asked)
    assert "quantize_graph_pass" not in capfd.readouterr().err
    sys.stderr.write("still there\n")
    assert "still there" in capfd.readouterr().err


def test_mxnet_stays_as_it_is() -> None:
    service = Service(convolution())
    reference = service.mx_model
    assert selection.give(model(service), BackendChoice(), []) is None
    assert service.mx_model is reference


@pytest.mark.parametrize("engine", [backend_names.INT8, backend_names.ONNXRUNTIME])
def test_batches_are_computed_as_single_requests_are(engine: str) -> None:
    service, asked = Service(convolution()), samples(8)
    loaded = model(service)
    selection.give(loaded, BackendChoice(engine, 0.05), asked)
    network = network_of(service)
    assert network is not None
    rows = [service._preprocess(list(one.inputs)) for one in asked]
    network.prepare(8)
    together = [row[0].asnumpy() for row in network.run(rows, 8)]
    for one, other in zip(answers(service, asked), together, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    ticks = iter(range(1_000_000))
    joint, verdict = choose_batch_computer(loaded, 4, clock=lambda: 0.001 * next(ticks))
    assert joint is not None, verdict
    assert verdict.most == 4


def test_without_samples_onnxruntime_is_compared_on_made_inputs() -> None:
    service = Service(convolution())
    found = selection.give(model(service), BackendChoice(backend_names.ONNXRUNTIME, 0.001), [])
    assert found is not None
    assert found.inputs >= 2
    assert isinstance(service.mx_model, OnnxModule)
    warm_up(model(service))


@pytest.mark.parametrize("method", ["InferenceSession", "run"])
def test_what_onnxruntime_raises_is_told(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its errors are derived from no kind but Exception."""

    class Fail(Exception):  # noqa: N818 - as there
        pass

    class Session:
        def __init__(self, *_args: object, **_kwargs: object) -> None:
            if method == "InferenceSession":
                raise Fail("no kernel for it")

        def run(self, *_args: object) -> None:
            raise Fail("no kernel for it")

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    service = Service(convolution())
    reference = service.mx_model
    with pytest.raises(EngineError, match="cannot be computed by onnxruntime: no kernel for it"):
        selection.give(model(service), BackendChoice(backend_names.ONNXRUNTIME, 0.001), [])
    assert service.mx_model is reference


def test_without_samples_there_is_no_int8() -> None:
    with pytest.raises(EngineError, match="no golden samples") as caught:
        selection.give(model(Service(convolution())), BackendChoice(backend_names.INT8, 0.05), [])
    assert "--sample" in caught.value.fix


def test_a_difference_above_the_tolerance_is_refused_and_shown() -> None:
    service, asked = Service(convolution()), samples(4)
    found = selection.give(model(service), BackendChoice(backend_names.INT8, 1.0), asked)
    assert found is not None
    again = Service(convolution())
    reference = again.mx_model
    with pytest.raises(EngineError, match=r"golden sample \d, output 0: a number is .* apart"):
        selection.give(model(again), BackendChoice(backend_names.INT8, found.share * 0.99), asked)
    assert again.mx_model is reference
    assert selection.give(
        model(again), BackendChoice(backend_names.INT8, found.share * 1.01), asked
    )


class Own(Service):
    """Runs its network itself."""

    def _inference(self, data: Any) -> Any:
        return super()._inference(data)


class Whole(Service):
    """Answers as it likes."""

    def inference(self, data: Any) -> Any:
        return data


@pytest.mark.parametrize("kind", [Own, Whole])
def test_a_service_that_computes_by_itself_is_refused(kind: type[Service]) -> None:
    with pytest.raises(EngineError, match=f"its service {kind.__name__} runs its network itself"):
        selection.give(
            model(kind(convolution())), BackendChoice(backend_names.ONNXRUNTIME, 0.001), []
        )


def test_a_module_of_their_own_is_refused() -> None:
    class Module(mx.mod.Module):  # type: ignore[misc] - MXNet has no types
        pass

    service = Service(convolution())
    service.mx_model.__class__ = Module
    with pytest.raises(EngineError, match="runs its network itself"):
        selection.give(model(service), BackendChoice(backend_names.ONNXRUNTIME, 0.001), [])


def test_sizes_that_vary_are_refused() -> None:
    symbol = mx.sym.mean(mx.sym.Variable("data"), axis=1, keepdims=True)
    symbol = mx.sym.broadcast_add(symbol, mx.sym.Variable("b", shape=(1, 1)))
    with pytest.raises(EngineError, match="lets the sizes of data vary"):
        selection.give(
            model(Service(symbol, [0, 0])), BackendChoice(backend_names.ONNXRUNTIME, 0.001), []
        )


def test_a_sample_of_other_sizes_is_refused() -> None:
    asked = samples(1, (2, 1, SIDE, SIDE))
    with pytest.raises(EngineError, match="golden sample 1 is not one row"):
        selection.give(
            model(Service(convolution())), BackendChoice(backend_names.INT8, 0.05), asked
        )


def test_operators_without_a_counterpart_are_named() -> None:
    data = mx.sym.Variable("data")
    symbol = mx.sym.SpatialTransformer(
        data,
        mx.sym.Variable("loc", shape=(1, 6)),
        target_shape=(SIDE, SIDE),
        transform_type="affine",
        sampler_type="bilinear",
    )
    symbol = mx.sym.gamma(symbol)
    assert onnx_export.unsupported(symbol) == ["SpatialTransformer", "gamma"]
    with pytest.raises(EngineError, match="no counterpart of SpatialTransformer, gamma"):
        selection.give(model(Service(symbol)), BackendChoice(backend_names.ONNXRUNTIME, 0.001), [])


def test_a_conversion_that_takes_too_long_is_ended() -> None:
    with pytest.raises(ConversionError, match=r"longer than 0\.001 s"):
        onnx_export.converted(Service(convolution()).mx_model, 0.001)


def test_a_converter_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_args: object, **_kwargs: object) -> None:
        raise ValueError("first line\nno such axis")

    monkeypatch.setattr(mx.onnx, "export_model", fails)
    with pytest.raises(ConversionError, match=r"^ValueError: no such axis$"):
        onnx_export.converted(Service(convolution()).mx_model)
