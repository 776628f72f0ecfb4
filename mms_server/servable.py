"""A model that answers requests: the one way from any protocol to the engine."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import bottle
import numpy as np

from mms_server import deadline, stages, tensors
from mms_server.deadline import Pace, Waited
from mms_server.deaths.guard import Guard, NoGuard
from mms_server.engine import Engine
from mms_server.errors import ClientGoneError, LateError, MMSError, PredictionError
from mms_server.replies import request_id, status_of
from mms_server.service_loader import LoadedModel
from mms_server.services.model_service import forward
from mms_server.stages import Stages

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
        """Take note of an answer; ``seconds`` is by stage (:data:`mms_server.stages.STAGES`)."""


class Silent:
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


@dataclass(frozen=True)
class Servable:
    """A loaded model with the engine it runs on, its limits, who observes it and who guards it.

    ``request_timeout_s`` is how long a client waits that does not say; 0 is for ever.
    """

    model: LoadedModel
    engine: Engine
    max_body_bytes: int
    max_pixels: int
    observer: Observer = field(default_factory=Silent)
    clock: stages.Clock = time.perf_counter
    guard: Guard = field(default_factory=NoGuard)
    warm_up_s: float = 0.0
    request_timeout_s: float = 0.0
    pace: Pace = field(default_factory=Pace)
    wall_clock: Callable[[], float] = time.time

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
        is a :class:`mms_server.whole_request.WholeRequest`.

        Raises:
            PredictionError: the service raised; the log says what.
            PredictionTimeoutError: it was not ready in time.
            QuarantinedError: the model's server has died twice on this input.
            LateError: the answer would come after the client's time.
            ClientGoneError: nobody waits for the answer any more.
        """
        return self._run(inputs, lambda: self.model.service.inference(inputs))

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
        result: tuple[Any, bool] = self._run(
            inputs, lambda: forward(self.model.service, inputs, tensors.arrays_of)
        )
        return result

    def _run(self, inputs: Any, compute: Callable[[], Any]) -> Any:
        environ, taken, queued = bottle.request.environ, Stages(self.clock), self.clock()
        environ[stages.KEY] = taken
        before = deadline.waited(environ, self.wall_clock())
        taken.add(stages.QUEUE, before.queue_s)
        limit_s = deadline.timeout_s(environ, self.request_timeout_s)
        self._check(environ, before, limit_s)
        given, request = self.guard.admit(environ), request_id()

        def work() -> Any:
            here_s = self.clock() - queued
            taken.add(stages.QUEUE, here_s)
            whole = Waited(before.queue_s + here_s, before.total_s + here_s)
            try:
                self._check(environ, whole, limit_s)
            except (LateError, ClientGoneError) as refusal:
                # The engine makes one error of all that a service may raise.
                return refusal
            began = self.clock()
            with stages.collecting(taken), self.guard.computing(request, given):
                answer = compute()
            self.pace.computed(self.clock() - began)
            return answer

        try:
            result = self.engine.run(work)
        except PredictionError as error:
            _log.error(
                "request %s: model %s failed",
                request,
                self.model.name,
                exc_info=error.__cause__,
            )
            raise
        if isinstance(result, LateError | ClientGoneError):
            raise result
        self.observer.computed(self.model.name, _rows(inputs))
        return result

    def _check(self, environ: Mapping[str, Any], times: Waited, limit_s: float) -> None:
        """Refuse what nobody waits for, or will not when it is answered."""
        if deadline.gone(environ):
            raise ClientGoneError("The client is gone: its request was not computed.")
        self.pace.check(times, limit_s)


def _rows(inputs: Any) -> int:
    """Return the size of a request's batch: tensors have it first, all else counts as one."""
    first = inputs[0] if isinstance(inputs, list) and inputs else None
    if isinstance(first, list) or (isinstance(first, np.ndarray) and first.ndim):
        return max(len(first), 1)
    return 1


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
                taken = bottle.request.environ.get(stages.KEY)
                seconds = taken.seconds if taken else {}
                observer.answered(name, status, servable.clock() - started, seconds)
        return answer

    return callback
