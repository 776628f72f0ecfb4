"""The master's counters of its workers: restarts and deaths."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter

from mms_server.crashes.causes import Cause
from mms_server.metrics import multiprocess

MASTER_CAUSE: Final = "master"
"""The cause of a master's death in the counter: its successor counts it without a known cause."""


class WorkerCounters:
    """Counts workers from gunicorn's hooks, in the master and, after the fork, in a worker."""

    def __init__(self, directory: Path, models: Sequence[str]) -> None:
        multiprocess.configure(directory)
        self._directory = directory
        restarts = Counter(
            "mms_worker_restarts",
            "Workers that were started in place of others.",
            ["model"],
            registry=CollectorRegistry(),
        )
        self._restarts = [restarts.labels(model) for model in models]
        self._models = list(models)
        self._deaths = Counter(
            "mms_deaths",
            "Processes that ended unexpectedly, by cause; `master` is one of a master.",
            ["model", "cause"],
            registry=CollectorRegistry(),
        )
        for cause in (*Cause, MASTER_CAUSE):
            for model in models:
                self._deaths.labels(model, cause)

    def pre_fork(self, server: Any, worker: Any) -> None:
        """Count a restart, if the worker is not one of the first ones."""
        if worker.age > server.num_workers:
            for restarts in self._restarts:
                restarts.inc()

    def died(self, cause: str) -> None:
        """Count the death of a worker."""
        for model in self._models:
            self._deaths.labels(model, cause).inc()

    def master_died(self) -> None:
        """Count the death of the master before this one."""
        self.died(MASTER_CAUSE)

    def post_fork(self, worker: Any) -> None:
        """Count in the files of this worker from now on."""
        multiprocess.set_process_name(str(worker.slot))

    def child_exit(self, worker: Any) -> None:
        """Remove the gauges of an ended worker, such as its requests in flight."""
        multiprocess.remove_gauges(self._directory, str(worker.slot))
