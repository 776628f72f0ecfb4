"""Tests of the batcher with a real engine: batches, refusals, and failures of single requests."""

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

NO_FIT = "no fit"


class DoublingComputer:
    """A batch computer that doubles numbers, or calls ``compute``; ``sizes`` are its batches."""

    max_batch = 4
    arrays = None

    def __init__(self, compute: Callable[[Sequence[Any]], Sequence[Any]] | None = None) -> None:
        self.sizes: list[int] = []
        self._compute = compute

    def prepare(self, inputs: Any) -> Any:
        return inputs

    def fits(self, prepared: Any) -> bool:
        return prepared != NO_FIT

    def compute(self, prepared: Sequence[Any]) -> Sequence[Any]:
        self.sizes.append(len(prepared))
        return self._compute(prepared) if self._compute else [2 * one for one in prepared]

    def compute_one(self, prepared: Any) -> Any:
        return f"{prepared} by itself"

    def answer(self, outputs: Any) -> Any:
        return outputs


def queued(
    computer: DoublingComputer, inputs: Any, waited_s: float = 0.0, *, run_alone: bool = False
) -> QueuedRequest:
    work = InferenceRequest(inputs, lambda: ("alone", inputs), computer.answer)
    waited = WaitTimes(waited_s, waited_s)
    body = Input(b"", b"", b"")
    return QueuedRequest(
        work, {}, Stages(), "id", body, waited, 5.0, ServiceRate(), run_alone=run_alone
    )


def run(computer: DoublingComputer, *requests: QueuedRequest) -> tuple[list[Any], list[int]]:
    """Return answers or errors of simultaneous requests, and the rows of each forward."""
    rows: list[int] = []
    scheduler = Scheduler(Engine(5.0, list), NoQuarantine(), ServiceRate(), rows.append)
    batcher = Batcher(scheduler, computer, lambda: 1)

    def answer(request: QueuedRequest) -> Any:
        try:
            return batcher.run(request)
        except Exception as error:  # noqa: BLE001 - the test checks it
            return error

    jobs = [gevent.spawn(answer, request) for request in requests]
    gevent.joinall(jobs, timeout=10)
    return [job.value for job in jobs], rows


def test_requests_that_are_read_together_are_computed_together() -> None:
    computer = DoublingComputer()
    found, rows = run(computer, *(queued(computer, number) for number in range(6)))
    assert found == [0, 2, 4, 6, 8, 10]
    assert (computer.sizes, rows) == ([4, 2], [4, 2])


def test_a_late_request_is_left_out() -> None:
    computer = DoublingComputer()
    found, rows = run(
        computer, queued(computer, 1), queued(computer, 2, waited_s=6), queued(computer, 3)
    )
    assert (found[0], found[2]) == (2, 6)
    assert isinstance(found[1], LateError)
    assert rows == [2]


def test_a_request_that_does_not_fit_is_computed_beside_the_batch() -> None:
    computer = DoublingComputer()
    found, rows = run(computer, queued(computer, 1), queued(computer, NO_FIT), queued(computer, 3))
    assert found == [2, "no fit by itself", 6]
    assert sorted(rows) == [1, 2]


def test_a_suspect_is_computed_last_and_by_itself() -> None:
    computer = DoublingComputer()
    found, rows = run(
        computer, queued(computer, 1, run_alone=True), queued(computer, 2), queued(computer, 3)
    )
    assert found == [("alone", 1), 4, 6]
    assert rows == [2, 1]


@pytest.mark.parametrize("answers", [[], [1], [1, 2, 3]])
def test_a_batch_with_a_wrong_number_of_answers_is_computed_one_by_one(answers: list[int]) -> None:
    computer = DoublingComputer(lambda _prepared: answers)
    found, rows = run(computer, queued(computer, 1), queued(computer, 2))
    assert found == [("alone", 1), ("alone", 2)]
    assert rows == [1, 1]


def test_a_service_that_exits_fails_its_own_request() -> None:
    computer = DoublingComputer()
    bad = queued(computer, 1)
    bad.work = InferenceRequest(1, int, lambda _outputs: sys.exit(1))
    found, rows = run(computer, bad, queued(computer, 2))
    assert isinstance(found[0], PredictionError)
    assert found[1] == 4
    assert rows == [2]
