"""What is found out about batches while a model loads, on real networks."""

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
    """The base service around a network that is given."""

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
    """Return a clock by which each forward takes so long, whatever its size."""
    looks = itertools.count()
    return lambda: seconds * next(looks)


def rows(count: int) -> list[list[Any]]:
    rng = np.random.default_rng(3)
    return [[mx.nd.array(rng.random((1, WIDTH)))] for _ in range(count)]


def test_a_call_that_costs_the_same_for_many_rows_is_worth_it() -> None:
    batch_computer, verdict = choose_batch_computer(model(Service(dense())), 6, clock=costs(0.001))
    assert verdict.most == 4, "the largest power of two"
    assert batch_computer is not None
    assert sorted(verdict.row_ms) == [1, 2, 4]


@pytest.mark.parametrize("symbol", [dense(), mx.sym.SoftmaxOutput(dense(), name="softmax")])
def test_each_request_has_its_own_outputs(symbol: Any) -> None:
    """A label that nobody gives, as of SoftmaxOutput, is of the batch's size too."""
    service = Service(symbol)
    batch_computer, _verdict = choose_batch_computer(model(service), 4, clock=costs(0.001))
    assert batch_computer is not None
    for count in (1, 2, 3, 4):
        given = rows(count)
        found = batch_computer.compute(given)
        expected = [service._inference(one)[0].asnumpy().copy() for one in given]
        together = [one[0].asnumpy() for one in found]
        np.testing.assert_allclose(np.concatenate(together), np.concatenate(expected), rtol=1e-5)


def test_numbers_of_another_type_are_computed_as_floats() -> None:
    service = Service(dense())
    batch_computer, _verdict = choose_batch_computer(model(service), 2, clock=costs(0.001))
    assert batch_computer is not None
    given = [[one[0].astype(kind)] for one, kind in zip(rows(2), ("uint8", "float32"), strict=True)]
    found = [one[0].asnumpy() for one in batch_computer.compute(given)]
    expected = [service._inference(one)[0].asnumpy().copy() for one in given]
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
def test_what_is_not_one_row_does_not_fit(prepared: Any) -> None:
    service = Service(dense())
    batch_computer = NetworkBatchComputer(service, BoundNetwork(service.mx_model, service.ctx))
    assert not batch_computer.fits(prepared)
    assert batch_computer.fits([mx.nd.zeros((1, WIDTH))])


def test_a_network_that_mixes_its_rows_is_computed_one_by_one() -> None:
    data = mx.sym.Variable("data")
    mixed = mx.sym.broadcast_sub(data, mx.sym.mean(data, axis=0, keepdims=True))
    batch_computer, verdict = choose_batch_computer(model(Service(mixed)), 4, clock=costs(0.001))
    assert batch_computer is None
    assert (verdict.most, "an output differs by" in verdict.reason) == (1, True)


def test_a_network_with_one_output_for_all_rows_takes_no_batch() -> None:
    total = mx.sym.sum(mx.sym.Variable("data"), axis=0)
    batch_computer, verdict = choose_batch_computer(model(Service(total)), 4, clock=costs(0.001))
    assert batch_computer is None
    assert verdict.reason.startswith("the network takes no batch: ")


def test_rows_that_cost_the_same_in_a_batch_are_computed_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = Service(dense())
    for share, most in ((0.91, 1), (0.89, 4)):
        monkeypatch.setattr(
            batch_benchmark, "_side_by_side", lambda *_, share=share: (0.01, 0.01 * share)
        )
        _batch_computer, verdict = choose_batch_computer(model(service), 4, clock=costs(0.01))
        assert verdict.most == most, verdict.reason


def test_a_clock_that_sees_no_cost_turns_batches_off() -> None:
    _batch_computer, verdict = choose_batch_computer(model(Service(dense())), 4, clock=lambda: 1.0)
    assert (verdict.most, verdict.reason) == (1, "a forward costs nothing that a clock could tell")


def test_a_slow_forward_is_not_tried() -> None:
    for seconds, tried in ((0.26, False), (0.24, True)):
        _batch_computer, verdict = choose_batch_computer(
            model(Service(dense())), 2, clock=costs(seconds)
        )
        assert ("of which its call" in verdict.reason) is not tried


def test_a_service_with_its_own_network_is_computed_one_by_one() -> None:
    class Own(Service):
        def _inference(self, data: Any) -> Any:
            return super()._inference(data)

    batch_computer, verdict = choose_batch_computer(model(Own(dense())), 8)
    assert batch_computer is None
    assert "declare handle_batch" in verdict.reason


def test_steps_that_keep_state_are_computed_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_benchmark, "state_of", lambda _kind: "service.py:7")
    batch_computer, verdict = choose_batch_computer(model(Service(dense())), 8)
    assert batch_computer is None
    assert "keeps state between its steps (service.py:7)" in verdict.reason


@pytest.mark.parametrize(("bias", "most"), [(0.0, 8), (0.1, 1)])
def test_a_declared_batch_has_the_answers_of_its_samples(bias: float, most: int) -> None:
    class Declares(Service):
        def inference(self, data: Any) -> Any:
            return [data[0][0]]

        def handle_batch(self, requests: Any) -> Any:
            return [[one[0][0] + bias] for one in requests]

    samples = [Sample(([1.0],), [1.0]), Sample(([2.0],), [2.0])]
    batch_computer, verdict = choose_batch_computer(model(Declares(dense())), 8, samples)
    assert verdict.most == most, verdict.reason
    assert (batch_computer is None) is (most == 1)


def test_one_at_a_time_is_not_tried(tmp_path: Path) -> None:
    batch_computer, verdict = choose_batch_computer(model(None), 1)
    assert (batch_computer, verdict.most) == (None, 1)


@pytest.mark.parametrize(
    ("count", "sizes"), [(1, [1]), (2, [2]), (3, [4]), (5, [4, 1]), (6, [4, 2]), (7, [8])]
)
def test_rows_are_split_at_the_lowest_cost(count: int, sizes: list[int]) -> None:
    assert split(count, {1: 1.0, 2: 1.6, 4: 2.0, 8: 3.9}) == sizes
