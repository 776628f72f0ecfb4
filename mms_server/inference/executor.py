"""Run a model's work: one request at a time, in one native thread, with a time limit.

MXNet's executors are not thread-safe, and service classes keep state on ``self`` (contract,
section 10), so everything that touches a service object runs in this one thread. It releases the
interpreter's lock in the engine, so the worker goes on answering meanwhile.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import gevent
from gevent.threadpool import ThreadPool

from mms_server.core.errors import PredictionError, PredictionTimeoutError

FAILED = "Error occurs while inference was executed on server."

_log = logging.getLogger(__name__)


class _Job:
    """A piece of work and what became of it, written by the engine's thread.

    ``began`` and ``ended`` are times of ``clock``, None before.
    """

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

    ``on_stuck`` is called when running work passes the time limit: a native thread cannot be
    interrupted, so the process has to be replaced.
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
        """The longest that a prediction may take."""
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
    def computed_at(self) -> float | None:
        """When it was last known to get work done, in the clock's seconds; None if never yet.

        That is now while a request's work is younger than the time limit: the interpreter runs, or
        nobody could ask.
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
            PredictionTimeoutError: it is not done within the time limit, waiting included.
            PredictionError: it raised.
        """
        late = PredictionTimeoutError("The engine does not get work done.")
        job = _Job(work, self._clock)
        with gevent.Timeout(timeout_s, late):
            _result, error = self._thread().spawn(job).get()
        if error is not None:
            raise PredictionError(FAILED) from error
        now = self._clock()
        return job.began or now, job.ended or now

    def run(self, work: Callable[[], Any]) -> Any:
        """Return what ``work`` returns.

        Raises:
            PredictionTimeoutError: it is not ready within the time limit, waiting included.
            PredictionError: it raised; the log says what.
        """
        late = late_after(self._timeout_s)
        if self.stuck:
            raise late
        job = _Job(work, self._clock)
        self._waiting += 1
        try:
            with gevent.Timeout(self._timeout_s, late):
                result, error = self._thread().spawn(self._current, job).get()
        except PredictionTimeoutError:
            self._give_up(job)
            raise
        finally:
            self._waiting -= 1
        if error is not None:
            raise PredictionError(FAILED) from error
        return result

    def _current(self, job: _Job) -> tuple[Any, BaseException | None]:
        self._job = job
        return job()

    def _thread(self) -> Any:
        # Made at first use: a thread does not survive the fork of the workers.
        if self._pool is None:
            self._pool = ThreadPool(1)
        return self._pool

    def _give_up(self, job: _Job) -> None:
        if job.began is not None and job.ended is None:
            self._stuck_job = job
            _log.error("a prediction runs longer than %g s: replacing worker", self._timeout_s)
            self._on_stuck()
        else:
            job.work = _nothing


def late_after(seconds: float) -> PredictionTimeoutError:
    """Return the error of a prediction that is not ready after so many seconds."""
    return PredictionTimeoutError(f"The prediction took longer than {seconds:g} s.")


def _nothing() -> None:
    """Stand in for work that nobody waits for any more."""
