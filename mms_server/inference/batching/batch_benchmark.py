"""Find out, while a model loads, whether its requests are worth computing together.

They are not where the service has steps that are only right for one request after the other, where
a batch's outputs are others than those of its rows, and where a batch costs what its rows cost: so
it is on most networks on a processor, whose convolutions are at its limit with one picture. What a
batch saves is what a call costs, whatever it computes.
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

LEAST_GAIN: Final = 0.1
"""Share of its cost that a forward must save in a batch.

Where it saved a twentieth, batches gave no more answers, a third more p99 and twice the memory
(docs/performance.md, "Overhead over the raw limit").
"""

SLOWEST_S: Final = 0.25
"""A forward that takes longer is not tried: what its call costs is no such share of it."""

_RELATIVE: Final = 1e-4
_BUDGET_S: Final = 0.1
_MOST_RUNS: Final = 7
_LEAST_RUNS: Final = 3
_OFF: Final = "declare handle_batch if it takes batches"


class NoGain(Exception):  # noqa: N818 - an answer, not a fault
    """Batches are of no use; the text says why."""


def choose_batch_computer(
    model: Any,
    wanted: int,
    samples: Sequence[Sample] = (),
    clock: Clock | None = None,
) -> tuple[BatchComputer | None, BatchDecision]:
    """Return what computes up to ``wanted`` requests of a loaded model together, None if nothing.

    ``clock`` counts the seconds that a forward costs, by default :func:`cost_clock`.
    """
    if wanted <= 1:
        return None, BatchDecision(1, "max_batch_size is 1")
    try:
        return _batch_computer(model, min(wanted, MAX_BATCH), samples, clock or cost_clock())
    except NoGain as why:
        return None, BatchDecision(1, str(why))


def _batch_computer(
    model: Any, wanted: int, samples: Sequence[Sample], clock: Clock
) -> tuple[BatchComputer, BatchDecision]:
    service = model.service
    if model.signature is None:
        raise NoGain("a handler of 1.x reads whole requests")
    if callable(getattr(type(service), "handle_batch", None)):
        by_service = ServiceBatchComputer(service, wanted)
        _compare_answers(service, by_service, samples)
        return by_service, BatchDecision(wanted, "the service declares handle_batch")
    network = network_of(service)
    if network is None:
        raise NoGain(f"the service runs its network itself; {_OFF}")
    state = state_of(type(service))
    if state:
        raise NoGain(f"the service keeps state between its steps ({state}); {_OFF}")
    by_network = NetworkBatchComputer(service, network)
    try:
        try:
            costs = _tried(by_network, wanted, clock)
        finally:
            # A forward leaves the parameters in the order of its own size: that of a single one has
            # to be what workers share, or each would make a copy with its first request.
            _seconds(network, _random_rows(by_network, 1), 1, clock, 1)
    except (mx.base.MXNetError, ValueError, TypeError, RuntimeError, KeyError) as error:
        text = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise NoGain(f"the network takes no batch: {text}") from error
    by_network.plan({size: cost * size for size, cost in costs.items()})
    gain = 1 - costs[by_network.most] / costs[1]
    row_ms = {size: round(1000 * cost, 6) for size, cost in costs.items()}
    return by_network, BatchDecision(by_network.most, f"a row costs {gain:.0%} less", row_ms)


def _compare_answers(
    service: Any, batch_computer: ServiceBatchComputer, samples: Sequence[Sample]
) -> None:
    """Refuse a service whose batch has other answers than its requests; asked are its samples."""
    asked = list(samples)[: batch_computer.most]
    if not asked:
        return
    try:
        together = batch_computer.compute([list(sample.inputs) for sample in asked])
        found = json.loads(json.dumps(list(together)))
        expected = [golden_samples.answer_of(service, sample) for sample in asked]
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}"
        raise NoGain(f"handle_batch fails on the golden samples: {reason}") from error
    if len(found) != len(asked):
        raise NoGain(f"handle_batch has {len(found)} answers to {len(asked)} golden samples")
    for sample, one, other in zip(asked, expected, found, strict=True):
        differs = difference(one, other, sample.tolerance)
        if differs:
            raise NoGain(f"in a batch {differs}")


def _tried(batch_computer: NetworkBatchComputer, wanted: int, clock: Clock) -> dict[int, float]:
    """Return the seconds of a row by size of batch, of the sizes that are of use.

    Raises:
        NoGain: none is.
    """
    network = batch_computer.network
    one_s = _seconds(network, _random_rows(batch_computer, 1), 1, clock, 2)
    if one_s > SLOWEST_S:
        raise NoGain(f"a forward takes {one_s:.2f} s, of which its call is next to nothing")
    sizes = [2**power for power in range(1, int(math.log2(wanted)) + 1)]
    # One size first, or a large network would be bound many times for nothing.
    within = [size for size in sizes if size * one_s <= _BUDGET_S]
    first = within[-1] if within else sizes[0]
    costs = {1: one_s}
    for size in (first, *(each for each in sizes if each != first)):
        rows = _random_rows(batch_computer, size)
        network.prepare(size)
        _require_same(network, rows, size)
        alone_s, row_s = _side_by_side(network, rows, size, clock)
        costs[1] = min(costs[1], alone_s)
        if costs[1] <= 0:
            raise NoGain("a forward costs nothing that a clock could tell")
        if row_s > (1 - LEAST_GAIN) * costs[1]:
            network.forget(size)
            if size == first:
                saved = max(1 - row_s / costs[1], 0)
                raise NoGain(f"in a batch of {size} a row costs {saved:.0%} less, too little")
        else:
            costs[size] = row_s
    return dict(sorted(costs.items()))


def _random_rows(batch_computer: NetworkBatchComputer, count: int) -> list[list[Any]]:
    return random_rows(batch_computer.shapes, count, batch_computer.network.dtype)


def _require_same(network: Network, rows: Sequence[Sequence[Any]], size: int) -> None:
    """Refuse a network whose outputs depend on what else is in the batch, beyond float noise."""
    together = [[each.asnumpy() for each in row] for row in network.run(rows, size)]
    for number, row in enumerate(rows):
        alone = [each.asnumpy() for each in network.run([row], 1)[0]]
        for one, other in zip(alone, together[number], strict=True):
            noise = _RELATIVE * float(np.nanmax(np.abs(one), initial=0.0))
            if not np.allclose(one, other, rtol=_RELATIVE, atol=noise, equal_nan=True):
                apart = float(np.nanmax(np.abs(one - other)))
                raise NoGain(f"in a batch of {size} an output differs by {apart:g}")


def _side_by_side(
    network: Network, rows: Sequence[Sequence[Any]], size: int, clock: Clock
) -> tuple[float, float]:
    """Return the seconds of a row alone and in a batch: the best of runs that alternate."""
    alone: list[float] = []
    batch: list[float] = []
    spent = 0.0
    while len(alone) < _LEAST_RUNS or (len(alone) < _MOST_RUNS and spent < _BUDGET_S):
        alone.append(sum(_seconds(network, [row], 1, clock, 1) for row in rows) / size)
        batch.append(_seconds(network, rows, size, clock, 1) / size)
        spent += (alone[-1] + batch[-1]) * size
    return min(alone), min(batch)


def _seconds(
    network: Network,
    rows: Sequence[Sequence[Any]],
    size: int,
    clock: Clock,
    runs: int,
) -> float:
    """Return the seconds of the fastest of some forwards."""
    taken = []
    for _ in range(runs):
        began = clock()
        for row in network.run(rows, size):
            for each in row:
                each.wait_to_read()
        taken.append(clock() - began)
    return min(taken)
