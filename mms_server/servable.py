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

from mms_server import stages, tensors
from mms_server.deaths.guard import Guard, NoGuard
from mms_server.engine import Engine
from mms_server.errors import MMSError, PredictionError
from mms_server.replies import request_id, status_of
from mms_server.service_loader import LoadedModel
from mms_server.services.model_service import forward
from mms_server.stages import Stages

_OK = 200
_STAGES_KEY = "mms.stages"

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
    """A loaded model with the engine it runs on, its limits, who observes it and who guards it."""

    model: LoadedModel
    engine: Engine
    max_body_bytes: int
    max_pixels: int
    observer: Observer = field(default_factory=Silent)
    clock: stages.Clock = time.perf_counter
    guard: Guard = field(default_factory=NoGuard)
    warm_up_s: float = 0.0

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
        """
        result: tuple[Any, bool] = self._run(
            inputs, lambda: forward(self.model.service, inputs, tensors.arrays_of)
        )
        return result

    def _run(self, inputs: Any, compute: Callable[[], Any]) -> Any:
        taken = Stages(self.clock)
        bottle.request.environ[_STAGES_KEY] = taken
        given = self.guard.admit(bottle.request.environ)
        request, queued = request_id(), self.clock()

        def work() -> Any:
            taken.add(stages.QUEUE, self.clock() - queued)
            with stages.collecting(taken), self.guard.computing(request, given):
                return compute()

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
        self.observer.computed(self.model.name, _rows(inputs))
        return result


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
                taken = bottle.request.environ.get(_STAGES_KEY)
                seconds = taken.seconds if taken else {}
                observer.answered(name, status, servable.clock() - started, seconds)
        return answer

    return callback
