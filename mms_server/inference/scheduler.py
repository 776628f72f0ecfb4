"""Pass requests to the engine, one at a time; refuse those that nobody waits for any more."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mms_server.core.errors import ClientGoneError
from mms_server.crashes.input_digest import Input
from mms_server.crashes.quarantine import Quarantine
from mms_server.inference.executor import Engine
from mms_server.metrics import stage_timing
from mms_server.metrics.stage_timing import Stages
from mms_server.overload import deadline
from mms_server.overload.deadline import ServiceRate, WaitTimes


@dataclass(frozen=True)
class InferenceRequest:
    """The inputs of a request and the calls that compute its answer, in the engine's thread.

    ``compute`` returns the answer of this request alone. ``postprocess`` makes the answer from the
    request's outputs in a batch; it is None if the request cannot be part of a batch.
    """

    inputs: Any
    compute: Callable[[], Any]
    postprocess: Callable[[Any], Any] | None = None


@dataclass(eq=False)
class QueuedRequest:
    """A request in the queue of this worker.

    ``waited`` is how long the request waited before it came to this queue, ``limit_s`` its time
    limit. With ``run_alone`` it is computed by itself, because it may end the process.
    ``queued_at`` is the time of ``clock`` when it came to this queue. The time until
    ``counted_until`` is in its stages.
    """

    work: InferenceRequest
    environ: Mapping[str, Any]
    stages: Stages
    request_id: str
    request_input: Input
    waited: WaitTimes
    limit_s: float
    service_rate: ServiceRate
    run_alone: bool = False
    clock: stage_timing.Clock = time.perf_counter
    queued_at: float = field(init=False)
    counted_until: float = field(init=False)

    def __post_init__(self) -> None:
        self.queued_at = self.counted_until = self.clock()

    @property
    def in_flight_entry(self) -> tuple[str, Input]:
        """The request's id and input, for the in-flight log."""
        return self.request_id, self.request_input

    def count_wait(self) -> None:
        """Add the time until now to the stage ``queue``."""
        now = self.clock()
        self.stages.add(stage_timing.QUEUE, now - self.counted_until)
        self.counted_until = now

    def skip_work(self) -> None:
        """Do not add the time until now to the stage ``queue``: the request was being computed."""
        self.counted_until = self.clock()

    def check(self) -> None:
        """Refuse the request if its client is gone, or will be when the answer is ready.

        Raises:
            LateError: the answer would come after the client's deadline.
            ClientGoneError: the client closed its connection.
        """
        here_s = self.clock() - self.queued_at
        times = WaitTimes(self.waited.queue_s + here_s, self.waited.total_s + here_s)
        check_still_wanted(self.environ, times, self.limit_s, self.service_rate)


def check_still_wanted(
    environ: Mapping[str, Any], times: WaitTimes, limit_s: float, service_rate: ServiceRate
) -> None:
    """Refuse a request if its client is gone, or will be when the answer is ready.

    Raises:
        LateError: the answer would come after the client's deadline.
        ClientGoneError: the client closed its connection.
    """
    if deadline.client_gone(environ):
        raise ClientGoneError("The client is gone: its request was not computed.")
    service_rate.check(times, limit_s)


class Scheduler:
    """Passes requests to an engine, one at a time; ``record_forward`` gets the rows of each."""

    def __init__(
        self,
        engine: Engine,
        quarantine: Quarantine,
        service_rate: ServiceRate,
        record_forward: Callable[[int], None],
        clock: stage_timing.Clock = time.perf_counter,
    ) -> None:
        self.engine = engine
        self.quarantine = quarantine
        self.service_rate = service_rate
        self.record_forward = record_forward
        self.clock = clock

    def run(self, queued: QueuedRequest) -> Any:
        """Return the answer to a request; call it in a greenlet of its own.

        Raises:
            RefusedError: the request was refused before it was computed.
            PredictionError: the service raised an error.
            PredictionTimeoutError: the prediction was not ready in time.
        """
        result = self.engine.run(lambda: self._compute_single(queued))
        self.record_forward(rows_of(queued.work.inputs))
        return result

    def _compute_single(self, queued: QueuedRequest) -> Any:
        queued.count_wait()
        queued.check()
        began = self.clock()
        with (
            stage_timing.collecting(queued.stages),
            self.quarantine.computing(queued.in_flight_entry),
        ):
            answer = queued.work.compute()
        self.service_rate.computed(self.clock() - began)
        return answer


def rows_of(inputs: Any) -> int:
    """Return how many rows a request has: the first size of a tensor; 1 for other inputs."""
    first = inputs[0] if isinstance(inputs, list) and inputs else None
    if isinstance(first, list) or (isinstance(first, np.ndarray) and first.ndim):
        return max(len(first), 1)
    return 1
