"""Benchmark at load: decides whether requests of a model are computed in batches, and how large.

Requests are computed one at a time if

* the service keeps state between the steps of a request;
* the outputs of a batch differ from those of its rows;
* a batch costs as much as its rows. So it is with most networks on a CPU, because convolutions keep
  it busy with one image. A batch saves the fixed cost of a call, which does not depend on its size.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, Final

import mxnet as mx
import numpy as np

from mms_server.archives import golden_samples
from mms_server.archives.comparison import difference
from mms_server.archives.golden_samples import Sample
from mms_server.config.model_settings import MAX_BATCH
from mms_server.inference.batching.batch_compute import (
    BatchComputer,
    Network,
    NetworkBatchComputer,
    ServiceBatchComputer,
    network_of,
)
from mms_server.inference.batching.batch_decision import BatchDecision
from mms_server.inference.batching.cpu_clock import Clock, cost_clock
from mms_server.inference.batching.statefulness import state_of
from mms_server.inference.services.module import random_rows

MIN_GAIN: Final = 0.1
"""Share of the cost of a row that a batch must save.

Batches that saved 5 % gave no more answers per second, a third more p99 and twice the memory
(docs/performance.md, "Overhead over the raw limit").
"""

MAX_FORWARD_S: Final = 0.25
"""Slower networks are not measured: the fixed cost of a call is too small a share of a forward."""

_RELATIVE_TOLERANCE: Final = 1e-4
_BUDGET_S: Final = 0.1
_MAX_RUNS: Final = 7
_MIN_RUNS: Final = 3
_DECLARE: Final = "declare handle_batch if it takes batches"


class NoGain(Exception):  # noqa: N818 - a result, not an error
    """Requests are computed one at a time; the text is the reason."""


def choose_batch_computer(
    model: Any,
    max_batch: int,
    samples: Sequence[Sample] = (),
    clock: Clock | None = None,
) -> tuple[BatchComputer | None, BatchDecision]:
    """Return what computes batches of a loaded model, None for one request at a time; and why.

    ``max_batch`` is the operator's limit. ``clock`` measures the cost of a forward in seconds; the
    default is :func:`cost_clock`.
    """
    if max_batch <= 1:
        return None, BatchDecision(1, "max_batch_size is 1")
    try:
        return _batch_computer(model, min(max_batch, MAX_BATCH), samples, clock or cost_clock())
    except NoGain as reason:
        return None, BatchDecision(1, str(reason))


def _batch_computer(
    model: Any, max_batch: int, samples: Sequence[Sample], clock: Clock
) -> tuple[BatchComputer, BatchDecision]:
    service = model.service
    if model.signature is None:
        raise NoGain("a handler of 1.x reads whole requests")
    if callable(getattr(type(service), "handle_batch", None)):
        by_service = ServiceBatchComputer(service, max_batch)
        _compare_answers(service, by_service, samples)
        return by_service, BatchDecision(max_batch, "the service declares handle_batch")
    network = network_of(service)
    if network is None:
        raise NoGain(f"the service runs its network itself; {_DECLARE}")
    state = state_of(type(service))
    if state:
        raise NoGain(f"the service keeps state between its steps ({state}); {_DECLARE}")
    by_network = NetworkBatchComputer(service, network)
    try:
        try:
            costs = _measure_sizes(by_network, max_batch, clock)
        finally:
            # oneDNN reorders the parameters in memory for the size of the last forward. Before the
            # fork this must be size 1, or each worker would make a copy at its first request.
            _time_forward(network, _random_rows(by_network, 1), 1, clock, 1)
    except (mx.base.MXNetError, ValueError, TypeError, RuntimeError, KeyError) as error:
        text = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise NoGain(f"the network takes no batch: {text}") from error
    by_network.plan({size: cost * size for size, cost in costs.items()})
    gain = 1 - costs[by_network.max_batch] / costs[1]
    row_ms = {size: round(1000 * cost, 6) for size, cost in costs.items()}
    return by_network, BatchDecision(by_network.max_batch, f"a row costs {gain:.0%} less", row_ms)


def _compare_answers(
    service: Any, batch_computer: ServiceBatchComputer, samples: Sequence[Sample]
) -> None:
    """Refuse a service whose answers to the golden samples are others in a batch."""
    batch = list(samples)[: batch_computer.max_batch]
    if not batch:
        return
    try:
        answers = batch_computer.compute([list(sample.inputs) for sample in batch])
        found = json.loads(json.dumps(list(answers)))
        expected = [golden_samples.answer_of(service, sample) for sample in batch]
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}"
        raise NoGain(f"handle_batch fails on the golden samples: {reason}") from error
    if len(found) != len(batch):
        raise NoGain(f"handle_batch has {len(found)} answers to {len(batch)} golden samples")
    for sample, one, other in zip(batch, expected, found, strict=True):
        differs = difference(one, other, sample.tolerance)
        if differs:
            raise NoGain(f"in a batch {differs}")


def _measure_sizes(
    batch_computer: NetworkBatchComputer, max_batch: int, clock: Clock
) -> dict[int, float]:
    """Return the seconds per row by batch size, for 1 and all sizes with enough gain.

    Raises:
        NoGain: no size has enough gain, or outputs differ in a batch.
    """
    network = batch_computer.network
    single_s = _time_forward(network, _random_rows(batch_computer, 1), 1, clock, 2)
    if single_s > MAX_FORWARD_S:
        raise NoGain(f"a forward takes {single_s:.2f} s, of which its call is next to nothing")
    sizes = [2**power for power in range(1, int(math.log2(max_batch)) + 1)]
    # If the first size has no gain, the others are not tried: binding a large network is expensive.
    affordable = [size for size in sizes if size * single_s <= _BUDGET_S]
    first = affordable[-1] if affordable else sizes[0]
    costs = {1: single_s}
    for size in (first, *(other for other in sizes if other != first)):
        rows = _random_rows(batch_computer, size)
        network.prepare(size)
        _require_same_outputs(network, rows, size)
        single_s, row_s = _compare_costs(network, rows, size, clock)
        costs[1] = min(costs[1], single_s)
        if costs[1] <= 0:
            raise NoGain("a forward costs nothing that a clock could tell")
        if row_s > (1 - MIN_GAIN) * costs[1]:
            network.forget(size)
            if size == first:
                saved = max(1 - row_s / costs[1], 0)
                raise NoGain(f"in a batch of {size} a row costs {saved:.0%} less, too little")
        else:
            costs[size] = row_s
    return dict(sorted(costs.items()))


def _random_rows(batch_computer: NetworkBatchComputer, count: int) -> list[list[Any]]:
    return random_rows(batch_computer.shapes, count, batch_computer.network.dtype)


def _require_same_outputs(network: Network, rows: Sequence[Sequence[Any]], size: int) -> None:
    """Refuse a network whose outputs in a batch differ from single ones by more than rounding."""
    batched = [[output.asnumpy() for output in row] for row in network.run(rows, size)]
    for number, row in enumerate(rows):
        single = [output.asnumpy() for output in network.run([row], 1)[0]]
        for one, other in zip(single, batched[number], strict=True):
            rounding = _RELATIVE_TOLERANCE * float(np.nanmax(np.abs(one), initial=0.0))
            if not np.allclose(one, other, rtol=_RELATIVE_TOLERANCE, atol=rounding, equal_nan=True):
                distance = float(np.nanmax(np.abs(one - other)))
                raise NoGain(f"in a batch of {size} an output differs by {distance:g}")


def _compare_costs(
    network: Network, rows: Sequence[Sequence[Any]], size: int, clock: Clock
) -> tuple[float, float]:
    """Return the seconds per row, single and in a batch: the best of alternating runs."""
    single: list[float] = []
    batch: list[float] = []
    spent = 0.0
    while len(single) < _MIN_RUNS or (len(single) < _MAX_RUNS and spent < _BUDGET_S):
        single.append(sum(_time_forward(network, [row], 1, clock, 1) for row in rows) / size)
        batch.append(_time_forward(network, rows, size, clock, 1) / size)
        spent += (single[-1] + batch[-1]) * size
    return min(single), min(batch)


def _time_forward(
    network: Network,
    rows: Sequence[Sequence[Any]],
    size: int,
    clock: Clock,
    runs: int,
) -> float:
    """Return the seconds of the fastest of several forwards."""
    seconds = []
    for _ in range(runs):
        began = clock()
        for row in network.run(rows, size):
            for output in row:
                output.wait_to_read()
        seconds.append(clock() - began)
    return min(seconds)
