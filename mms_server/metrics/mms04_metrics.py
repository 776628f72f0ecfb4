"""The metrics of 0.4: their names, their units, and one value per minute (compatibility.md, 11)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mms_server.metrics import stage_timing
from mms_server.metrics.minute_stats import Key, Statistic
from mms_server.metrics.prediction_record import PredictionRecord

PREDICTIONS: Final = "PredictionTotal"
CLIENT_ERRORS: Final = "Prediction4XX"
SERVER_ERRORS: Final = "Prediction5XX"
OVERALL: Final = "LatencyOverall"
LATENCIES: Final[Mapping[str, str]] = {
    stage_timing.INFERENCE: "LatencyInference",
    stage_timing.PREPROCESS: "LatencyPreprocess",
    stage_timing.POSTPROCESS: "LatencyPostprocess",
}
"""The latency metric of each stage."""

PINGS: Final = "PingTotal"
DESCRIPTIONS: Final = "APIDescriptionTotal"

# 0.4 gives the count of descriptions in percent. Users' alarms name that unit, so it stays.
_SUMS: Final[Mapping[str, str]] = {
    PREDICTIONS: "Count",
    CLIENT_ERRORS: "Count",
    SERVER_ERRORS: "Count",
    PINGS: "Count",
    DESCRIPTIONS: "Percent",
}
_AVERAGES: Final[Mapping[str, str]] = {
    OVERALL: "Milliseconds",
    **dict.fromkeys(LATENCIES.values(), "Milliseconds"),
    "CPUUtilization": "Percent",
    "MemoryUtilization": "Percent",
    "DiskUtilization": "Percent",
    "MemoryUsed": "Megabytes",
    "MemoryAvailable": "Megabytes",
    "DiskUsed": "Gigabytes",
    "DiskAvailable": "Gigabytes",
}
UNITS: Final[Mapping[str, str]] = {**_SUMS, **_AVERAGES}
MODEL_METRICS: Final = (PREDICTIONS, CLIENT_ERRORS, SERVER_ERRORS, OVERALL, *LATENCIES.values())
HOST_METRICS: Final = tuple(name for name in UNITS if name not in MODEL_METRICS)

_MS: Final = 1000.0
_CLIENT_ERROR, _SERVER_ERROR = 4, 5


@dataclass(frozen=True)
class Record:
    """A metric of one minute; ``model`` is an endpoint name, or empty for the host."""

    metric: str
    model: str
    statistic: Statistic

    @property
    def unit(self) -> str:
        """Return the unit, by CloudWatch's name."""
        return UNITS[self.metric]

    @property
    def is_sum(self) -> bool:
        """Return whether the minute's value is the sum of the observations, not the average."""
        return self.metric in _SUMS

    @property
    def value(self) -> float:
        """Return the minute's value."""
        return self.statistic.total if self.is_sum else self.statistic.average


def observations(record: PredictionRecord) -> Iterator[tuple[Key, float]]:
    """Yield the values that one answer adds to the metrics of its model; latencies are in ms."""
    model = record.model
    yield (model, PREDICTIONS), 1.0
    status_class = record.status // 100
    if status_class in {_CLIENT_ERROR, _SERVER_ERROR}:
        yield (model, CLIENT_ERRORS if status_class == _CLIENT_ERROR else SERVER_ERRORS), 1.0
    yield (model, OVERALL), record.overall_s * _MS
    for stage, metric in LATENCIES.items():
        if stage in record.stages_s:
            yield (model, metric), record.stages_s[stage] * _MS


def model_keys(models: Sequence[str]) -> list[Key]:
    """Return the keys of all metrics of ``models``."""
    return [(model, metric) for model in models for metric in MODEL_METRICS]


def make_records(statistics: Mapping[Key, Statistic]) -> list[Record]:
    """Return a record of each known metric: the host's first, then model by model."""
    order = {metric: index for index, metric in enumerate((*HOST_METRICS, *MODEL_METRICS))}
    records = [
        Record(metric, model, statistic)
        for (model, metric), statistic in statistics.items()
        if metric in UNITS
    ]
    return sorted(records, key=lambda record: (record.model, order[record.metric]))
