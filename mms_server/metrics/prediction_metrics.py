"""The metrics of the workers: predictions, their stages, and the workers' memory."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from mms_server.metrics import mms04_metrics, stage_timing
from mms_server.metrics.minute_stats import MinuteStats
from mms_server.metrics.prediction_record import PredictionRecord

_FAST: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1)
SECONDS: Final = (*_FAST, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""The histograms' bucket bounds in seconds: from a tiny model's forward to the default timeout."""

_ROWS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)

_log = logging.getLogger(__name__)


class PredictionMetrics:
    """Counts predictions by endpoint name. It observes the servables and is made before the fork.

    If a file cannot be written, for instance on a full disk, that is logged once, and requests are
    still answered.
    """

    def __init__(self, directory: Path, models: Sequence[str]) -> None:
        registry = CollectorRegistry()
        self._minutes = MinuteStats(directory, "predictions", mms04_metrics.model_keys(models))
        self._error_logged = False
        self._answers = Counter(
            "mms_predictions",
            "Prediction requests that were answered, by HTTP status code.",
            ["model", "code"],
            registry=registry,
        )
        self._overall = Histogram(
            "mms_prediction_seconds",
            "Time from reading a prediction request to its answer.",
            ["model"],
            buckets=SECONDS,
            registry=registry,
        )
        self._stages = Histogram(
            "mms_prediction_stage_seconds",
            "Time of one stage of a prediction.",
            ["model", "stage"],
            buckets=SECONDS,
            registry=registry,
        )
        self._rows = Histogram(
            "mms_prediction_batch_size",
            "Rows that one forward computed.",
            ["model"],
            buckets=_ROWS,
            registry=registry,
        )
        self._in_flight = Gauge(
            "mms_predictions_in_flight",
            "Prediction requests that workers have taken and not answered yet.",
            ["model"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._create_series(models)

    def _create_series(self, models: Sequence[str]) -> None:
        """Create all time series at zero: else Prometheus misses the first increase of each."""
        for model in models:
            self._answers.labels(model, "200")
            for family in (self._overall, self._rows, self._in_flight):
                family.labels(model)
            for stage in stage_timing.STAGES:
                self._stages.labels(model, stage)

    @contextmanager
    def in_flight(self, model: str) -> Iterator[None]:
        """Count a request as in flight within the context."""
        gauge = self._in_flight.labels(model)
        gauge.inc()
        try:
            yield
        finally:
            gauge.dec()

    def record_forward(self, model: str, rows: int) -> None:
        """Count the rows of one forward."""
        self._rows.labels(model).observe(rows)

    def record_answer(self, record: PredictionRecord) -> None:
        """Count an answer."""
        self._answers.labels(record.model, str(record.status)).inc()
        self._overall.labels(record.model).observe(record.overall_s)
        for stage, duration in record.stages_s.items():
            self._stages.labels(record.model, stage).observe(duration)
        try:
            for key, value in mms04_metrics.observations(record):
                self._minutes.add(key, value)
        except OSError as error:
            if not self._error_logged:
                _log.error("predictions are not counted by the minute: %s", error)
            self._error_logged = True


class MemoryMetrics:
    """The memory of this worker, by endpoint name; made before the fork."""

    def __init__(self, models: Sequence[str]) -> None:
        registry = CollectorRegistry()
        self._private = Gauge(
            "mms_worker_memory_bytes",
            "Memory that a worker shares with no other, of the largest worker.",
            ["model"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._growth = Gauge(
            "mms_worker_memory_growth_bytes_per_second",
            "Growth of that memory since the worker's first request, of the fastest worker.",
            ["model"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._replaced = Counter(
            "mms_worker_replacements",
            "Workers that were replaced because they had outgrown their memory.",
            ["model"],
            registry=registry,
        )
        self._models = list(models)
        for model in models:
            self._replaced.labels(model)

    def record(self, private_bytes: int, growth: float) -> None:
        """Set a worker's private memory in bytes, and its growth in bytes per second."""
        for model in self._models:
            self._private.labels(model).set(private_bytes)
            self._growth.labels(model).set(growth)

    def replaced(self) -> None:
        """Count a worker that is replaced because of its memory."""
        for model in self._models:
            self._replaced.labels(model).inc()
