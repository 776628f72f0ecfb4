"""A model that answers requests: the one way from any protocol to the engine."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Protocol

import bottle

from mms_server.core.errors import MMSError, PredictionError
from mms_server.core.refusals import status_of
from mms_server.core.request_id import request_id
from mms_server.crashes.quarantine import NoQuarantine, Quarantine
from mms_server.inference import tensor_codec
from mms_server.inference.batching.batch_compute import BatchComputer
from mms_server.inference.batching.batch_delay import Gathered, no_delay
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
from mms_server.metrics.stage_timing import Stages
from mms_server.overload import deadline
from mms_server.overload.deadline import ServiceRate

_OK = 200

_log = logging.getLogger(__name__)


class Observer(Protocol):
    """Who is told about predictions; all times are in seconds."""

    def in_flight(self, model: str) -> AbstractContextManager[None]:
        """Return a context that lasts as long as one request."""

    def computed(self, model: str, rows: int) -> None:
        """Take note of a forward that succeeded, and how many rows it computed."""

    def answered(
        self, model: str, status: int, overall_s: float, seconds: Mapping[str, float]
    ) -> None:
        """Record an answer; ``seconds`` is by stage (:mod:`mms_server.metrics.stage_timing`)."""


class NullObserver:
    """An observer that takes no notes."""

    def in_flight(self, model: str) -> AbstractContextManager[None]:
        """Return a context that does nothing."""
        del model
        return nullcontext()

    def computed(self, model: str, rows: int) -> None:
        """Do nothing."""

    def answered(
        self, model: str, status: int, overall_s: float, seconds: Mapping[str, float]
    ) -> None:
        """Do nothing."""


Queued = Callable[[float, float], None]
"""Is told how long a request waited in the queue, and how long one takes, in seconds."""


def not_told(_queue_s: float, _request_s: float) -> None:
    """Do nothing."""


@dataclass(frozen=True)
class Servable:
    """A loaded model with the engine it runs on, its limits, who observes it and who guards it.

    ``request_timeout_s`` is how long a client waits that does not say; 0 is for ever. ``batch_computer``
    computes requests together, None if that is not done; ``in_hand`` says how many the worker has,
    ``wait_for_batch`` returns when it takes no more for now.
    """

    model: LoadedModel
    engine: Engine
    max_body_bytes: int
    max_pixels: int
    observer: Observer = field(default_factory=NullObserver)
    clock: stage_timing.Clock = time.perf_counter
    quarantine: Quarantine = field(default_factory=NoQuarantine)
    warm_up_s: float = 0.0
    request_timeout_s: float = 0.0
    service_rate: ServiceRate = field(default_factory=ServiceRate)
    wall_clock: Callable[[], float] = time.time
    batch_computer: BatchComputer | None = None
    in_hand: Callable[[], int] = lambda: 0
    wait_for_batch: Gathered = no_delay
    queued: Queued = not_told

    def healthy(self) -> bool:
        """Ask the service's ``ping``, but never wait for a prediction: a busy engine is well."""
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
            PredictionError: the service raised; the log says what.
            PredictionTimeoutError: it was not ready in time.
            QuarantinedError: the model's server has died twice on this input.
            LateError: the answer would come after the client's time.
            ClientGoneError: nobody waits for the answer any more.
        """
        service = self.model.service
        finish = self.batch_computer.answer if self.batch_computer else None
        return self._run(InferenceRequest(inputs, lambda: service.inference(inputs), finish))

    def infer_arrays(self, inputs: Any) -> tuple[Any, bool]:
        """Return the model's outputs as a list of numpy arrays and True.

        A service whose outputs are no arrays, or that has its own ``inference``, gives what it
        answers, and False.

        Raises:
            PredictionError: the service raised; the log says what.
            PredictionTimeoutError: it was not ready in time.
            QuarantinedError: the model's server has died twice on this input.
            LateError: the answer would come after the client's time.
            ClientGoneError: nobody waits for the answer any more.
        """
        service = self.model.service
        finish = self.batch_computer.arrays if self.batch_computer else None
        compute = partial(infer_arrays, service, inputs, tensor_codec.arrays_of)
        result: tuple[Any, bool] = self._run(InferenceRequest(inputs, compute, finish))
        return result

    def _run(self, work: InferenceRequest) -> Any:
        environ, taken = bottle.request.environ, Stages(self.clock)
        environ[stage_timing.ENVIRON_KEY] = taken
        before = deadline.waited(environ, self.wall_clock())
        taken.add(stage_timing.QUEUE, before.queue_s)
        if deadline.TIMES_KEY in environ:
            self.queued(before.queue_s, self.service_rate.request_s)
        limit_s = deadline.timeout_s(environ, self.request_timeout_s)
        check_still_wanted(environ, before, limit_s, self.service_rate)
        given = self.quarantine.admit(environ)
        queued = QueuedRequest(
            work,
            environ,
            taken,
            request_id(),
            given,
            before,
            limit_s,
            self.service_rate,
            alone=self.quarantine.must_run_alone(environ, given),
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
        told = partial(self.observer.computed, self.model.name)
        scheduler = Scheduler(self.engine, self.quarantine, self.service_rate, told, self.clock)
        return (
            Batcher(scheduler, self.batch_computer, self.in_hand, self.wait_for_batch)
            if self.batch_computer
            else scheduler
        )


def observed(servable: Servable, route: Callable[[Servable], Any]) -> Callable[[], Any]:
    """Return a route callback that answers by ``route`` and tells the model's observer.

    Every prediction of every protocol comes by here, so that each is counted once.
    """

    def callback() -> Any:
        name, observer = servable.model.name, servable.observer
        started, status = servable.clock(), _OK
        with observer.in_flight(name):
            try:
                answer = route(servable)
                status = int(bottle.response.status_code)
            except bottle.HTTPResponse as response:
                status = int(response.status_code)
                raise
            except Exception as error:
                status = status_of(error)
                raise
            finally:
                taken = bottle.request.environ.get(stage_timing.ENVIRON_KEY)
                seconds = taken.seconds if taken else {}
                observer.answered(name, status, servable.clock() - started, seconds)
        return answer

    return callback
