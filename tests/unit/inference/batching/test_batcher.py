"""Requests are computed together, with a real engine thread."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import gevent
import pytest

from mms_server.core.errors import LateError, PredictionError
from mms_server.crashes.input_digest import Input
from mms_server.crashes.quarantine import NoQuarantine
from mms_server.inference.batching.batcher import Batcher
from mms_server.inference.executor import Engine
from mms_server.inference.scheduler import InferenceRequest, QueuedRequest, Scheduler
from mms_server.metrics.stage_timing import Stages
from mms_server.overload.deadline import ServiceRate, WaitTimes

ODD = "odd"


class Doubles:
    """Computes together what it is given, twice as much; tells the sizes."""

    most = 4
    arrays = None

    def __init__(self, compute: Callable[[Sequence[Any]], Sequence[Any]] | None = None) -> None:
        self.sizes: list[int] = []
        self._compute = compute

    def prepare(self, inputs: Any) -> Any:
        return inputs

    def fits(self, prepared: Any) -> bool:
        return prepared != ODD

    def compute(self, prepared: Sequence[Any]) -> Sequence[Any]:
        self.sizes.append(len(prepared))
        return self._compute(prepared) if self._compute else [2 * one for one in prepared]

    def compute_one(self, prepared: Any) -> Any:
        return f"{prepared} by itself"

    def answer(self, own: Any) -> Any:
        return own


class Rows(list[int]):
    """The sizes of forwards that an observer was told."""


def queued(
    joint: Doubles, inputs: Any, waited_s: float = 0.0, *, alone: bool = False
) -> QueuedRequest:
    work = InferenceRequest(inputs, lambda: ("alone", inputs), joint.answer)
    before = WaitTimes(waited_s, waited_s)
    given = Input(b"", b"", b"")
    return QueuedRequest(work, {}, Stages(), "id", given, before, 5.0, ServiceRate(), alone=alone)


def run(joint: Doubles, *tickets: QueuedRequest) -> tuple[list[Any], Rows]:
    """Return what became of requests that were taken together."""
    rows = Rows()
    line = Scheduler(Engine(5.0, list), NoQuarantine(), ServiceRate(), rows.append)
    batcher = Batcher(line, joint, lambda: 1)

    def answer(one: QueuedRequest) -> Any:
        try:
            return batcher.run(one)
        except Exception as error:  # noqa: BLE001 - what the test looks at
            return error

    jobs = [gevent.spawn(answer, one) for one in tickets]
    gevent.joinall(jobs, timeout=10)
    return [job.value for job in jobs], rows


def test_requests_that_are_read_together_are_computed_together() -> None:
    joint = Doubles()
    found, rows = run(joint, *(queued(joint, number) for number in range(6)))
    assert found == [0, 2, 4, 6, 8, 10]
    assert (joint.sizes, rows) == ([4, 2], [4, 2])


def test_a_late_request_is_left_out() -> None:
    joint = Doubles()
    found, rows = run(joint, queued(joint, 1), queued(joint, 2, waited_s=6), queued(joint, 3))
    assert (found[0], found[2]) == (2, 6)
    assert isinstance(found[1], LateError)
    assert rows == [2]


def test_a_request_that_does_not_fit_is_computed_beside_the_batch() -> None:
    joint = Doubles()
    found, rows = run(joint, queued(joint, 1), queued(joint, ODD), queued(joint, 3))
    assert found == [2, "odd by itself", 6]
    assert sorted(rows) == [1, 2]


def test_a_suspect_is_computed_last_and_by_itself() -> None:
    joint = Doubles()
    found, rows = run(joint, queued(joint, 1, alone=True), queued(joint, 2), queued(joint, 3))
    assert found == [("alone", 1), 4, 6]
    assert rows == [2, 1]


@pytest.mark.parametrize("answers", [[], [1], [1, 2, 3]])
def test_a_batch_with_a_wrong_number_of_answers_is_computed_one_by_one(answers: list[int]) -> None:
    joint = Doubles(lambda _prepared: answers)
    found, rows = run(joint, queued(joint, 1), queued(joint, 2))
    assert found == [("alone", 1), ("alone", 2)]
    assert rows == [1, 1]


def test_a_service_that_exits_fails_its_own_request() -> None:
    joint = Doubles()
    bad = queued(joint, 1)
    bad.work = InferenceRequest(1, int, lambda _own: sys.exit(1))
    found, rows = run(joint, bad, queued(joint, 2))
    assert isinstance(found[0], PredictionError)
    assert found[1] == 4
    assert rows == [2]
