"""The way of a request to the engine: one at a time, refused if nobody waits for its answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mms_server.core.errors import ClientGoneError, LateError
from mms_server.crashes.input_digest import Input
from mms_server.crashes.quarantine import Quarantine
from mms_server.inference.executor import Engine
from mms_server.metrics import stage_timing
from mms_server.metrics.stage_timing import Stages
from mms_server.overload import deadline
from mms_server.overload.deadline import ServiceRate, WaitTimes


@dataclass(frozen=True)
class InferenceRequest:
    """What a request wants of a service.

    ``compute`` does all of it by itself. ``finish`` makes the answer of the outputs that the
    request has in a batch, None if it cannot be part of one. Both run in the engine's thread.
    """

    inputs: Any
    compute: Callable[[], Any]
    finish: Callable[[Any], Any] | None = None


@dataclass(eq=False)
class QueuedRequest:
    """A request that was let in.

    ``before`` is what it waited until now, ``limit_s`` what its client waits; ``alone`` says that
    it may end the process. ``queued_at`` and ``counted_until`` are times of ``clock``: since when it waits
    here, and until when that is in its stages.
    """

    work: InferenceRequest
    environ: Mapping[str, Any]
    taken: Stages
    request_id: str
    given: Input
    before: WaitTimes
    limit_s: float
    service_rate: ServiceRate
    alone: bool = False
    clock: stage_timing.Clock = time.perf_counter
    queued_at: float = field(init=False)
    counted_until: float = field(init=False)

    def __post_init__(self) -> None:
        self.queued_at = self.counted_until = self.clock()

    @property
    def in_flight_entry(self) -> tuple[str, Input]:
        """Its id and its input, as a guard notes them."""
        return self.request_id, self.given

    def waited(self) -> None:
        """Count the time until now as spent in the queue."""
        now = self.clock()
        self.taken.add(stage_timing.QUEUE, now - self.counted_until)
        self.counted_until = now

    def worked(self) -> None:
        """Leave the time until now out of the queue: it was spent on this request."""
        self.counted_until = self.clock()

    def check(self) -> None:
        """Refuse the request if nobody waits for it, or will not when it is answered.

        Raises:
            LateError: the answer would come after the client's time.
            ClientGoneError: the client is gone.
        """
        here_s = self.clock() - self.queued_at
        times = WaitTimes(self.before.queue_s + here_s, self.before.total_s + here_s)
        check_still_wanted(self.environ, times, self.limit_s, self.service_rate)


def check_still_wanted(
    environ: Mapping[str, Any], times: WaitTimes, limit_s: float, service_rate: ServiceRate
) -> None:
    """Refuse a request if nobody waits for it, or will not when it is answered.

    Raises:
        LateError: the answer would come after the client's time.
        ClientGoneError: the client is gone.
    """
    if deadline.client_gone(environ):
        raise ClientGoneError("The client is gone: its request was not computed.")
    service_rate.check(times, limit_s)


class Scheduler:
    """Brings requests to an engine, one at a time; ``computed`` is told the rows of a forward."""

    def __init__(
        self,
        engine: Engine,
        quarantine: Quarantine,
        service_rate: ServiceRate,
        computed: Callable[[int], None],
        clock: stage_timing.Clock = time.perf_counter,
    ) -> None:
        self.engine = engine
        self.quarantine = quarantine
        self.service_rate = service_rate
        self.computed = computed
        self.clock = clock

    def run(self, queued: QueuedRequest) -> Any:
        """Return the answer to a request; call it in a greenlet of its own.

        Raises:
            PredictionError: the service raised.
            PredictionTimeoutError: it was not ready in time.
            LateError: the answer would come after the client's time.
            ClientGoneError: nobody waits for the answer any more.
        """
        result = self.engine.run(lambda: self._alone(queued))
        if isinstance(result, LateError | ClientGoneError):
            raise result
        self.computed(rows_of(queued.work.inputs))
        return result

    def _alone(self, queued: QueuedRequest) -> Any:
        queued.waited()
        try:
            queued.check()
        except (LateError, ClientGoneError) as refusal:
            # The engine makes one error of all that a service may raise.
            return refusal
        began = self.clock()
        with (
            stage_timing.collecting(queued.taken),
            self.quarantine.computing(queued.in_flight_entry),
        ):
            answer = queued.work.compute()
        self.service_rate.computed(self.clock() - began)
        return answer


def rows_of(inputs: Any) -> int:
    """Return the size of a request's batch: tensors have it first, all else counts as one."""
    first = inputs[0] if isinstance(inputs, list) and inputs else None
    if isinstance(first, list) or (isinstance(first, np.ndarray) and first.ndim):
        return max(len(first), 1)
    return 1
