"""The executor: runs the work of models in one native thread, with a time limit.

MXNet's executors are not thread-safe, and service classes keep state on ``self`` (0.4, see
docs/service_classes.md), so every call of a service object runs in this one thread. MXNet releases
Python's global interpreter lock while it computes, so the worker can answer other requests.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import gevent
from gevent.threadpool import ThreadPool

from mms_server.core.errors import PredictionError, PredictionTimeoutError, RefusedError

# The message of 0.4, which clients see.
FAILED = "Error occurs while inference was executed on server."

_log = logging.getLogger(__name__)


class _Job:
    """A call for the engine's thread, and the times when it began and ended; None before."""

    def __init__(self, work: Callable[[], Any], clock: Callable[[], float]) -> None:
        self.work = work
        self.began: float | None = None
        self.ended: float | None = None
        self._clock = clock

    def __call__(self) -> tuple[Any, BaseException | None]:
        self.began = self._clock()
        try:
            return self.work(), None
        except BaseException as error:  # noqa: BLE001 - a service that exits must not end the worker
            return None, error
        finally:
            self.ended = self._clock()


class Engine:
    """The one thread that runs models in this process.

    ``on_stuck`` is called when running work exceeds the time limit. A native thread cannot be
    interrupted, so the process must be replaced then.
    """

    def __init__(
        self,
        timeout_s: float,
        on_stuck: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timeout_s = timeout_s
        self._on_stuck = on_stuck
        self._clock = clock
        self._pool: Any = None
        self._waiting = 0
        self._job: _Job | None = None
        self._stuck_job: _Job | None = None

    @property
    def timeout_s(self) -> float:
        """The time limit of a prediction in seconds, waiting for the thread included."""
        return self._timeout_s

    @property
    def idle(self) -> bool:
        """Whether nothing runs and nothing waits."""
        return self._waiting == 0 and not self.stuck

    @property
    def stuck(self) -> bool:
        """Whether work that passed its time limit is still running."""
        return self._stuck_job is not None and self._stuck_job.ended is None

    @property
    def last_progress_at(self) -> float | None:
        """When the engine last made progress, in the clock's seconds; None before the first work.

        It is the end of the last request's work. While work runs within the time limit, it is now.
        """
        job = self._job
        if job is None or job.began is None:
            return None
        if job.ended is not None:
            return job.ended
        now = self._clock()
        return now if now - job.began <= self._timeout_s else None

    def probe(self, work: Callable[[], Any], timeout_s: float) -> tuple[float, float]:
        """Run work that no client waits for; return its begin and end, in the clock's seconds.

        Raises:
            PredictionTimeoutError: the work is not done within the time limit, waiting included.
            PredictionError: the work raised an error.
        """
        timeout_error = PredictionTimeoutError("The engine does not get work done.")
        job = _Job(work, self._clock)
        with gevent.Timeout(timeout_s, timeout_error):
            _result, error = self._thread().spawn(job).get()
        if error is not None:
            raise PredictionError(FAILED) from error
        now = self._clock()
        return job.began or now, job.ended or now

    def run(self, work: Callable[[], Any]) -> Any:
        """Run ``work`` in the engine's thread, and return its result.

        Raises:
            PredictionTimeoutError: the work is not done within the time limit, waiting included.
            RefusedError: the work raised it.
            PredictionError: the work raised any other error; the log has that error.
        """
        timeout_error = prediction_timeout(self._timeout_s)
        if self.stuck:
            raise timeout_error
        job = _Job(work, self._clock)
        self._waiting += 1
        try:
            with gevent.Timeout(self._timeout_s, timeout_error):
                result, error = self._thread().spawn(self._run_job, job).get()
        except PredictionTimeoutError:
            self._give_up(job)
            raise
        finally:
            self._waiting -= 1
        if isinstance(error, RefusedError):
            try:
                raise error
            finally:
                # Or the traceback and this frame hold each other, and the request's body.
                del error
        if error is not None:
            raise PredictionError(FAILED) from error
        return result

    def _run_job(self, job: _Job) -> tuple[Any, BaseException | None]:
        self._job = job
        return job()

    def _thread(self) -> Any:
        # Started at first use, because a thread does not survive the fork of the workers.
        if self._pool is None:
            self._pool = ThreadPool(1)
        return self._pool

    def _give_up(self, job: _Job) -> None:
        if job.began is not None and job.ended is None:
            self._stuck_job = job
            _log.error("a prediction runs longer than %g s: replacing worker", self._timeout_s)
            self._on_stuck()
        else:
            job.work = _do_nothing


def prediction_timeout(seconds: float) -> PredictionTimeoutError:
    """Return the error of a prediction that is not ready after ``seconds``."""
    return PredictionTimeoutError(f"The prediction took longer than {seconds:g} s.")


def _do_nothing() -> None:
    """Replace work that has not begun and that no request waits for any more."""
