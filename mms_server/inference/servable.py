"""A servable: a loaded model with its engine and limits; all protocols run predictions by it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Protocol

import bottle

from mms_server.config.request_limits import RequestLimits
from mms_server.core.errors import MMSError, PredictionError
from mms_server.core.request_id import request_id
from mms_server.crashes.quarantine import NoQuarantine, Quarantine
from mms_server.inference import tensor_codec
from mms_server.inference.batching.batch_compute import BatchComputer
from mms_server.inference.batching.batch_delay import WaitForBatch, no_delay
from mms_server.inference.batching.batcher import Batcher
from mms_server.inference.executor import Engine
from mms_server.inference.model_loader import LoadedModel
from mms_server.inference.scheduler import (
    InferenceRequest,
    QueuedRequest,
    Scheduler,
    check_still_wanted,
)
from mms_server.inference.services.model_service import infer_arrays
from mms_server.metrics import stage_timing
from mms_server.metrics.prediction_record import PredictionRecord
from mms_server.metrics.stage_timing import Stages
from mms_server.overload import deadline
from mms_server.overload.deadline import ServiceRate

_log = logging.getLogger(__name__)


class Observer(Protocol):
    """Records predictions, for metrics."""

    def in_flight(self, model: str) -> AbstractContextManager[None]:
        """Return a context that lasts as long as one request."""

    def record_forward(self, model: str, rows: int) -> None:
        """Record a forward that succeeded, and how many rows it computed."""

    def record_answer(self, record: PredictionRecord) -> None:
        """Record an answer."""


class NullObserver:
    """An observer that records nothing."""

    def in_flight(self, model: str) -> AbstractContextManager[None]:
        """Return a context that does nothing."""
        del model
        return nullcontext()

    def record_forward(self, model: str, rows: int) -> None:
        """Do nothing."""

    def record_answer(self, record: PredictionRecord) -> None:
        """Do nothing."""


RecordQueueDelay = Callable[[float, float], None]
"""Records how long a request waited in the queue, and how long one request takes, in seconds."""


def ignore_queue_delay(_queue_s: float, _request_s: float) -> None:
    """Record nothing."""


@dataclass(frozen=True)
class Servable:
    """A loaded model with its engine, limits, observer and quarantine.

    ``limits`` is for the content of a request. ``request_timeout_s`` is the time limit of requests
    that do not have one; 0 is no limit. ``batch_computer`` computes batches; None means one request
    at a time. ``in_flight_count`` returns how many requests the worker has accepted and not
    answered. ``wait_for_batch`` returns when the worker accepts no more requests for now.
    """

    model: LoadedModel
    engine: Engine
    limits: RequestLimits = field(default_factory=RequestLimits)
    observer: Observer = field(default_factory=NullObserver)
    clock: stage_timing.Clock = time.perf_counter
    quarantine: Quarantine = field(default_factory=NoQuarantine)
    warm_up_s: float = 0.0
    request_timeout_s: float = 0.0
    service_rate: ServiceRate = field(default_factory=ServiceRate)
    wall_clock: Callable[[], float] = time.time
    batch_computer: BatchComputer | None = None
    in_flight_count: Callable[[], int] = lambda: 0
    wait_for_batch: WaitForBatch = no_delay
    record_queue_delay: RecordQueueDelay = ignore_queue_delay

    def healthy(self) -> bool:
        """Return whether the model is healthy, by the service's ``ping``.

        It never waits for a prediction: a busy engine counts as healthy if it is not stuck.
        """
        if not self.engine.idle:
            return not self.engine.stuck
        try:
            self.engine.run(self.model.service.ping)
        except MMSError as error:
            _log.error("ping of %s failed: %r", self.model.name, error.__cause__ or error)
            return False
        return True

    def infer(self, inputs: Any) -> Any:
        """Return what the service's ``inference`` returns for ``inputs``.

        ``inputs`` is one element per input of the signature; for a model without a signature it
        is a :class:`mms_server.inference.raw_request.RawRequest`.

        Raises:
            PredictionError: the service raised an error, which the log has.
            PredictionTimeoutError: the answer was not ready in time.
            QuarantinedError: processes of the release have died twice on this input.
            LateError: the answer would come after the client's deadline.
            ClientGoneError: the client closed its connection.
        """
        service = self.model.service
        postprocess = self.batch_computer.answer if self.batch_computer else None
        return self._run(InferenceRequest(inputs, lambda: service.inference(inputs), postprocess))

    def infer_arrays(self, inputs: Any) -> tuple[Any, bool]:
        """Return the model's outputs as a list of numpy arrays and True.

        If the outputs are not arrays, or the service overrides ``inference``, return the service's
        answer and False.

        Raises:
            PredictionError: the service raised an error, which the log has.
            PredictionTimeoutError: the answer was not ready in time.
            QuarantinedError: processes of the release have died twice on this input.
            LateError: the answer would come after the client's deadline.
            ClientGoneError: the client closed its connection.
        """
        service = self.model.service
        postprocess = self.batch_computer.arrays if self.batch_computer else None
        compute = partial(infer_arrays, service, inputs, tensor_codec.arrays_of)
        result: tuple[Any, bool] = self._run(InferenceRequest(inputs, compute, postprocess))
        return result

    def _run(self, work: InferenceRequest) -> Any:
        environ, stages = bottle.request.environ, Stages(self.clock)
        environ[stage_timing.ENVIRON_KEY] = stages
        waited = deadline.waited(environ, self.wall_clock())
        stages.add(stage_timing.QUEUE, waited.queue_s)
        if deadline.TIMES_KEY in environ:
            self.record_queue_delay(waited.queue_s, self.service_rate.request_s)
        limit_s = deadline.timeout_s(environ, self.request_timeout_s)
        check_still_wanted(environ, waited, limit_s, self.service_rate)
        request_input = self.quarantine.admit(environ)
        queued = QueuedRequest(
            work,
            environ,
            stages,
            request_id(),
            request_input,
            waited,
            limit_s,
            self.service_rate,
            run_alone=self.quarantine.must_run_alone(environ, request_input),
            clock=self.clock,
        )
        try:
            return self._scheduler.run(queued)
        except PredictionError as error:
            _log.error(
                "request %s: model %s failed",
                queued.request_id,
                self.model.name,
                exc_info=error.__cause__,
            )
            raise

    @cached_property
    def _scheduler(self) -> Scheduler:
        record = partial(self.observer.record_forward, self.model.name)
        scheduler = Scheduler(self.engine, self.quarantine, self.service_rate, record, self.clock)
        return (
            Batcher(scheduler, self.batch_computer, self.in_flight_count, self.wait_for_batch)
            if self.batch_computer
            else scheduler
        )
