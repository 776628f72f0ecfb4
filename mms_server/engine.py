"""Run a model's work: one request at a time, in one native thread, with a time limit.

MXNet's executors are not thread-safe, and service classes keep state on ``self`` (contract,
section 10), so everything that touches a service object runs in this one thread. It releases the
interpreter's lock in the engine, so the worker goes on answering meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import gevent
from gevent.threadpool import ThreadPool

from mms_server.errors import PredictionError, PredictionTimeoutError

FAILED = "Error occurs while inference was executed on server."

_log = logging.getLogger(__name__)


class _Job:
    """A piece of work and what became of it; ``done`` is written by the engine's thread."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work
        self.started = False
        self.done = False

    def __call__(self) -> tuple[Any, BaseException | None]:
        self.started = True
        try:
            return self.work(), None
        except BaseException as error:  # noqa: BLE001 - a service that exits must not end the worker
            return None, error
        finally:
            self.done = True


class Engine:
    """The one thread that runs models in this process.

    ``on_stuck`` is called when running work passes the time limit: a native thread cannot be
    interrupted, so the process has to be replaced.
    """

    def __init__(self, timeout_s: float, on_stuck: Callable[[], None]) -> None:
        self._timeout_s = timeout_s
        self._on_stuck = on_stuck
        self._pool: Any = None
        self._waiting = 0
        self._stuck_job: _Job | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing runs and nothing waits."""
        return self._waiting == 0 and not self.stuck

    @property
    def stuck(self) -> bool:
        """Whether work that passed its time limit is still running."""
        return self._stuck_job is not None and not self._stuck_job.done

    def run(self, work: Callable[[], Any]) -> Any:
        """Return what ``work`` returns.

        Raises:
            PredictionTimeoutError: it is not ready within the time limit, waiting included.
            PredictionError: it raised; the log says what.
        """
        late = PredictionTimeoutError(f"The prediction took longer than {self._timeout_s:g} s.")
        if self.stuck:
            raise late
        job = _Job(work)
        self._waiting += 1
        try:
            with gevent.Timeout(self._timeout_s, late):
                result, error = self._thread().spawn(job).get()
        except PredictionTimeoutError:
            self._give_up(job)
            raise
        finally:
            self._waiting -= 1
        if error is not None:
            raise PredictionError(FAILED) from error
        return result

    def _thread(self) -> Any:
        # Made at first use: a thread does not survive the fork of the workers.
        if self._pool is None:
            self._pool = ThreadPool(1)
        return self._pool

    def _give_up(self, job: _Job) -> None:
        if job.started and not job.done:
            self._stuck_job = job
            _log.error("a prediction runs longer than %g s: replacing worker", self._timeout_s)
            self._on_stuck()
        else:
            job.work = _nothing


def _nothing() -> None:
    """Stand in for work that nobody waits for any more."""
