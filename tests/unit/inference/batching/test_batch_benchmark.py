"""Tests of the batch benchmark at load, on real networks."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mxnet as mx
import numpy as np
import pytest

from mms_server.archives.golden_samples import Sample
from mms_server.archives.signature import Signature
from mms_server.inference.batching import batch_benchmark
from mms_server.inference.batching.batch_benchmark import choose_batch_computer
from mms_server.inference.batching.batch_compute import BoundNetwork, NetworkBatchComputer, split
from mms_server.inference.services.module import bound_shape
from mms_server.inference.services.mxnet_model_service import MXNetBaseService

WIDTH = 5
SIGNATURE = {
    "inputs": [{"data_name": "data", "data_shape": [0, WIDTH]}],
    "input_type": "application/json",
    "outputs": [],
    "output_type": "application/json",
}


class Service(MXNetBaseService):
    """The base service with the network ``symbol``."""

    def __init__(self, symbol: Any) -> None:
        self.ctx = mx.cpu()
        self._signature = SIGNATURE
        self.mx_model = mx.mod.Module(symbol, data_names=["data"], label_names=None)
        self.mx_model.bind([("data", bound_shape([0, WIDTH]))], for_training=False)
        values = {"fc_weight": mx.nd.random.uniform(shape=(3, WIDTH)), "fc_bias": mx.nd.ones((3,))}
        self.mx_model.set_params(values, {}, allow_missing=True, allow_extra=True)


def dense() -> Any:
    return mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=3, name="fc")


def model(service: Any) -> Any:
    return SimpleNamespace(
        name="m", service=service, signature=Signature.from_json(json.dumps(SIGNATURE), "here")
    )


def costs(seconds: float) -> Callable[[], float]:
    """Return a clock by which each forward takes ``seconds``, whatever its size."""
    calls = itertools.count()
    return lambda: seconds * next(calls)


def rows(count: int) -> list[list[Any]]:
    rng = np.random.default_rng(3)
    return [[mx.nd.array(rng.random((1, WIDTH)))] for _ in range(count)]


def test_a_forward_whose_cost_does_not_grow_with_rows_is_batched() -> None:
    batch_computer, decision = choose_batch_computer(model(Service(dense())), 6, clock=costs(0.001))
    assert decision.max_batch == 4, "the largest power of two"
    assert batch_computer is not None
    assert sorted(decision.row_ms) == [1, 2, 4]


@pytest.mark.parametrize("symbol", [dense(), mx.sym.SoftmaxOutput(dense(), name="softmax")])
def test_each_request_of_a_batch_has_its_own_outputs(symbol: Any) -> None:
    """A label that inference does not use, as of SoftmaxOutput, has the batch's size too."""
    service = Service(symbol)
    batch_computer, _decision = choose_batch_computer(model(service), 4, clock=costs(0.001))
    assert batch_computer is not None
    for count in (1, 2, 3, 4):
        inputs = rows(count)
        outputs = batch_computer.compute(inputs)
        expected = [service._inference(one)[0].asnumpy().copy() for one in inputs]
        batched = [one[0].asnumpy() for one in outputs]
        np.testing.assert_allclose(np.concatenate(batched), np.concatenate(expected), rtol=1e-5)


def test_numbers_of_another_type_are_computed_as_floats() -> None:
    service = Service(dense())
    batch_computer, _decision = choose_batch_computer(model(service), 2, clock=costs(0.001))
    assert batch_computer is not None
    kinds = ("uint8", "float32")
    inputs = [[one[0].astype(kind)] for one, kind in zip(rows(2), kinds, strict=True)]
    found = [one[0].asnumpy() for one in batch_computer.compute(inputs)]
    expected = [service._inference(one)[0].asnumpy().copy() for one in inputs]
    np.testing.assert_allclose(np.concatenate(found), np.concatenate(expected), rtol=1e-5)


def test_parameters_are_not_copied() -> None:
    service = Service(dense())
    network = BoundNetwork(service.mx_model, service.ctx)
    network.prepare(4)
    one, four = (network._executors[size].arg_dict["fc_weight"] for size in (1, 4))
    assert one is four


@pytest.mark.parametrize(
    "prepared",
    [[mx.nd.zeros((2, WIDTH))], [mx.nd.zeros((1, 4))], [], [np.zeros((1, WIDTH))], None],
    ids=["two rows", "shape", "none", "no array", "nothing"],
)
def test_inputs_that_are_not_one_row_do_not_fit(prepared: Any) -> None:
    service = Service(dense())
    batch_computer = NetworkBatchComputer(service, BoundNetwork(service.mx_model, service.ctx))
    assert not batch_computer.fits(prepared)
    assert batch_computer.fits([mx.nd.zeros((1, WIDTH))])


def test_a_network_whose_outputs_depend_on_other_rows_is_not_batched() -> None:
    data = mx.sym.Variable("data")
    mixed = mx.sym.broadcast_sub(data, mx.sym.mean(data, axis=0, keepdims=True))
    batch_computer, decision = choose_batch_computer(model(Service(mixed)), 4, clock=costs(0.001))
    assert batch_computer is None
    assert (decision.max_batch, "an output differs by" in decision.reason) == (1, True)


def test_a_network_with_one_output_for_all_rows_is_not_batched() -> None:
    total = mx.sym.sum(mx.sym.Variable("data"), axis=0)
    batch_computer, decision = choose_batch_computer(model(Service(total)), 4, clock=costs(0.001))
    assert batch_computer is None
    assert decision.reason.startswith("the network takes no batch: ")


def test_batches_with_less_than_ten_percent_gain_are_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = Service(dense())
    for share, max_batch in ((0.91, 1), (0.89, 4)):
        monkeypatch.setattr(
            batch_benchmark, "_compare_costs", lambda *_, share=share: (0.01, 0.01 * share)
        )
        _batch_computer, decision = choose_batch_computer(model(service), 4, clock=costs(0.01))
        assert decision.max_batch == max_batch, decision.reason


def test_a_clock_that_sees_no_cost_turns_batches_off() -> None:
    _batch_computer, decision = choose_batch_computer(model(Service(dense())), 4, clock=lambda: 1.0)
    assert (decision.max_batch, decision.reason) == (
        1,
        "a forward costs nothing that a clock could tell",
    )


def test_a_slow_forward_is_not_measured() -> None:
    for seconds, tried in ((0.26, False), (0.24, True)):
        _batch_computer, decision = choose_batch_computer(
            model(Service(dense())), 2, clock=costs(seconds)
        )
        assert ("of which its call" in decision.reason) is not tried


def test_a_service_that_runs_its_network_itself_is_not_batched() -> None:
    class RunsNetworkItself(Service):
        def _inference(self, data: Any) -> Any:
            return super()._inference(data)

    batch_computer, decision = choose_batch_computer(model(RunsNetworkItself(dense())), 8)
    assert batch_computer is None
    assert "declare handle_batch" in decision.reason


def test_a_service_that_keeps_state_is_not_batched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_benchmark, "state_of", lambda _kind: "service.py:7")
    batch_computer, decision = choose_batch_computer(model(Service(dense())), 8)
    assert batch_computer is None
    assert "keeps state between its steps (service.py:7)" in decision.reason


@pytest.mark.parametrize(("bias", "max_batch"), [(0.0, 8), (0.1, 1)])
def test_handle_batch_must_give_the_answers_of_the_samples(bias: float, max_batch: int) -> None:
    class Declares(Service):
        def inference(self, data: Any) -> Any:
            return [data[0][0]]

        def handle_batch(self, requests: Any) -> Any:
            return [[one[0][0] + bias] for one in requests]

    samples = [Sample(([1.0],), [1.0]), Sample(([2.0],), [2.0])]
    batch_computer, decision = choose_batch_computer(model(Declares(dense())), 8, samples)
    assert decision.max_batch == max_batch, decision.reason
    assert (batch_computer is None) is (max_batch == 1)


def test_with_max_batch_size_1_nothing_is_measured(tmp_path: Path) -> None:
    batch_computer, decision = choose_batch_computer(model(None), 1)
    assert (batch_computer, decision.max_batch) == (None, 1)


@pytest.mark.parametrize(
    ("count", "sizes"), [(1, [1]), (2, [2]), (3, [4]), (5, [4, 1]), (6, [4, 2]), (7, [8])]
)
def test_rows_are_split_at_the_lowest_cost(count: int, sizes: list[int]) -> None:
    assert split(count, {1: 1.0, 2: 1.6, 4: 2.0, 8: 3.9}) == sizes
