"""The metrics of 0.4: names, units, and how a minute becomes one figure (contract, section 11)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mms_server.metrics import stage_timing
from mms_server.metrics.minute_stats import Key, Statistic

PREDICTIONS: Final = "PredictionTotal"
CLIENT_ERRORS: Final = "Prediction4XX"
SERVER_ERRORS: Final = "Prediction5XX"
OVERALL: Final = "LatencyOverall"
LATENCIES: Final[Mapping[str, str]] = {
    stage_timing.INFERENCE: "LatencyInference",
    stage_timing.PREPROCESS: "LatencyPreprocess",
    stage_timing.POSTPROCESS: "LatencyPostprocess",
}
"""Stage -> metric."""

PINGS: Final = "PingTotal"
DESCRIPTIONS: Final = "APIDescriptionTotal"

# That descriptions are counted in percent is 0.4's: alarms on the metric name its unit.
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
OF_MODELS: Final = (PREDICTIONS, CLIENT_ERRORS, SERVER_ERRORS, OVERALL, *LATENCIES.values())
OF_HOST: Final = tuple(name for name in UNITS if name not in OF_MODELS)

_MS: Final = 1000.0
_CLIENT_ERROR, _SERVER_ERROR = 4, 5


@dataclass(frozen=True)
class Record:
    """One figure of one minute; ``model`` is an endpoint name, or empty for the host."""

    metric: str
    model: str
    seen: Statistic

    @property
    def unit(self) -> str:
        """Return the unit, in CloudWatch's words."""
        return UNITS[self.metric]

    @property
    def is_sum(self) -> bool:
        """Return whether the minute's figure is the sum, and not the average."""
        return self.metric in _SUMS

    @property
    def value(self) -> float:
        """Return the minute's figure."""
        return self.seen.total if self.is_sum else self.seen.average


def observed(
    model: str, status: int, overall_s: float, seconds: Mapping[str, float]
) -> Iterator[tuple[Key, float]]:
    """Yield what one answer adds to the metrics of its model."""
    yield (model, PREDICTIONS), 1.0
    kind = status // 100
    if kind in {_CLIENT_ERROR, _SERVER_ERROR}:
        yield (model, CLIENT_ERRORS if kind == _CLIENT_ERROR else SERVER_ERRORS), 1.0
    yield (model, OVERALL), overall_s * _MS
    for stage, metric in LATENCIES.items():
        if stage in seconds:
            yield (model, metric), seconds[stage] * _MS


def keys_of(models: Sequence[str]) -> list[Key]:
    """Return all keys of these models."""
    return [(model, metric) for model in models for metric in OF_MODELS]


def records(seen: Mapping[Key, Statistic]) -> list[Record]:
    """Return the known metrics among ``seen``: the host's first, then model by model."""
    places = {metric: place for place, metric in enumerate((*OF_HOST, *OF_MODELS))}
    known = [Record(metric, model, row) for (model, metric), row in seen.items() if metric in UNITS]
    return sorted(known, key=lambda row: (row.model, places[row.metric]))
