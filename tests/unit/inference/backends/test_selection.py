"""Tests of switching a model's backend: real conversions of small networks, and refusals."""

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
    """The base service with a network ``symbol`` and random weights."""

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


def answers(service: Any, inputs: list[Sample]) -> list[Any]:
    rows = (service._preprocess(list(one.inputs)) for one in inputs)
    # Copies, because the next forward overwrites the arrays.
    return [service._inference(row)[0].asnumpy().copy() for row in rows]


@pytest.mark.parametrize("symbol", [convolution, softmax])
@pytest.mark.parametrize("engine", [backend_names.INT8, backend_names.ONNXRUNTIME])
def test_outputs_of_a_backend_are_close_to_the_reference(
    engine: str, symbol: Callable[[], Any]
) -> None:
    """A label that inference does not use, as of SoftmaxOutput, is no input of the backend."""
    service, inputs = Service(symbol()), samples(8)
    before, reference = answers(service, inputs), service.mx_model
    found = selection.switch_backend(model(service), BackendChoice(engine, 0.05), inputs)
    assert found is not None
    assert (found.inputs, found.fault) == (8, "")
    assert service.mx_model is not reference
    for one, other in zip(before, answers(service, inputs), strict=True):
        np.testing.assert_allclose(one, other, atol=0.05 * np.abs(one).max())


def test_int8_computes_with_8_bit_integers() -> None:
    service, inputs = Service(convolution()), samples(8)
    found = selection.switch_backend(
        model(service), BackendChoice(backend_names.INT8, 0.05), inputs
    )
    assert found is not None
    assert 1e-5 < found.share < 0.05
    assert "quantized" in service.mx_model.symbol.tojson()


def test_quantizing_writes_no_lines_about_layers_to_stderr(
    capfd: pytest.CaptureFixture[str],
) -> None:
    service, inputs = Service(convolution()), samples(2)
    selection.switch_backend(model(service), BackendChoice(backend_names.INT8, 1.0), inputs)
    assert "quantize_graph_pass" not in capfd.readouterr().err
    sys.stderr.write("restored\n")
    assert "restored" in capfd.readouterr().err


def test_mxnet_changes_nothing() -> None:
    service = Service(convolution())
    reference = service.mx_model
    assert selection.switch_backend(model(service), BackendChoice(), []) is None
    assert service.mx_model is reference


@pytest.mark.parametrize("engine", [backend_names.INT8, backend_names.ONNXRUNTIME])
def test_batches_have_the_outputs_of_single_requests(engine: str) -> None:
    service, inputs = Service(convolution()), samples(8)
    loaded = model(service)
    selection.switch_backend(loaded, BackendChoice(engine, 0.05), inputs)
    network = network_of(service)
    assert network is not None
    rows = [service._preprocess(list(one.inputs)) for one in inputs]
    network.prepare(8)
    batched = [row[0].asnumpy() for row in network.run(rows, 8)]
    for one, other in zip(answers(service, inputs), batched, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    ticks = iter(range(1_000_000))
    batch_computer, decision = choose_batch_computer(loaded, 4, clock=lambda: 0.001 * next(ticks))
    assert batch_computer is not None, decision
    assert decision.max_batch == 4


def test_without_samples_onnxruntime_is_compared_on_random_inputs() -> None:
    service = Service(convolution())
    found = selection.switch_backend(
        model(service), BackendChoice(backend_names.ONNXRUNTIME, 0.001), []
    )
    assert found is not None
    assert found.inputs >= 2
    assert isinstance(service.mx_model, OnnxModule)
    warm_up(model(service))


@pytest.mark.parametrize("method", ["InferenceSession", "run"])
def test_errors_of_onnxruntime_are_in_the_message(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors of ONNX Runtime have no base class but Exception."""

    class Fail(Exception):  # noqa: N818 - as in ONNX Runtime
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
        selection.switch_backend(
            model(service), BackendChoice(backend_names.ONNXRUNTIME, 0.001), []
        )
    assert service.mx_model is reference


def test_int8_without_samples_is_refused() -> None:
    with pytest.raises(EngineError, match="no golden samples") as caught:
        selection.switch_backend(
            model(Service(convolution())), BackendChoice(backend_names.INT8, 0.05), []
        )
    assert "--sample" in caught.value.fix


def test_a_difference_above_the_tolerance_is_refused_and_shown() -> None:
    service, inputs = Service(convolution()), samples(4)
    found = selection.switch_backend(model(service), BackendChoice(backend_names.INT8, 1.0), inputs)
    assert found is not None
    again = Service(convolution())
    reference = again.mx_model
    with pytest.raises(EngineError, match=r"golden sample \d, output 0: a number is .* apart"):
        selection.switch_backend(
            model(again), BackendChoice(backend_names.INT8, found.share * 0.99), inputs
        )
    assert again.mx_model is reference
    assert selection.switch_backend(
        model(again), BackendChoice(backend_names.INT8, found.share * 1.01), inputs
    )


class RunsNetworkItself(Service):
    """A service that overrides ``_inference``."""

    def _inference(self, data: Any) -> Any:
        return super()._inference(data)


class OverridesInference(Service):
    """A service that overrides ``inference``."""

    def inference(self, data: Any) -> Any:
        return data


@pytest.mark.parametrize("kind", [RunsNetworkItself, OverridesInference])
def test_a_service_that_runs_its_network_itself_is_refused(kind: type[Service]) -> None:
    with pytest.raises(EngineError, match=f"its service {kind.__name__} runs its network itself"):
        selection.switch_backend(
            model(kind(convolution())), BackendChoice(backend_names.ONNXRUNTIME, 0.001), []
        )


def test_a_subclass_of_module_is_refused() -> None:
    class Module(mx.mod.Module):  # type: ignore[misc] - MXNet has no types
        pass

    service = Service(convolution())
    service.mx_model.__class__ = Module
    with pytest.raises(EngineError, match="runs its network itself"):
        selection.switch_backend(
            model(service), BackendChoice(backend_names.ONNXRUNTIME, 0.001), []
        )


def test_variable_sizes_are_refused() -> None:
    symbol = mx.sym.mean(mx.sym.Variable("data"), axis=1, keepdims=True)
    symbol = mx.sym.broadcast_add(symbol, mx.sym.Variable("b", shape=(1, 1)))
    with pytest.raises(EngineError, match="lets the sizes of data vary"):
        selection.switch_backend(
            model(Service(symbol, [0, 0])), BackendChoice(backend_names.ONNXRUNTIME, 0.001), []
        )


def test_a_sample_of_other_sizes_is_refused() -> None:
    inputs = samples(1, (2, 1, SIDE, SIDE))
    with pytest.raises(EngineError, match="golden sample 1 is not one row"):
        selection.switch_backend(
            model(Service(convolution())), BackendChoice(backend_names.INT8, 0.05), inputs
        )


def test_operators_that_onnx_lacks_are_named() -> None:
    data = mx.sym.Variable("data")
    symbol = mx.sym.SpatialTransformer(
        data,
        mx.sym.Variable("loc", shape=(1, 6)),
        target_shape=(SIDE, SIDE),
        transform_type="affine",
        sampler_type="bilinear",
    )
    symbol = mx.sym.gamma(symbol)
    assert onnx_export.unsupported_operators(symbol) == ["SpatialTransformer", "gamma"]
    with pytest.raises(EngineError, match="no counterpart of SpatialTransformer, gamma"):
        selection.switch_backend(
            model(Service(symbol)), BackendChoice(backend_names.ONNXRUNTIME, 0.001), []
        )


def test_a_conversion_over_the_time_limit_is_killed() -> None:
    with pytest.raises(ConversionError, match=r"longer than 0\.001 s"):
        onnx_export.convert(Service(convolution()).mx_model, 0.001)


def test_an_error_of_the_converter_is_in_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_args: object, **_kwargs: object) -> None:
        raise ValueError("first line\nno such axis")

    monkeypatch.setattr(mx.onnx, "export_model", fails)
    with pytest.raises(ConversionError, match=r"^ValueError: no such axis$"):
        onnx_export.convert(Service(convolution()).mx_model)
