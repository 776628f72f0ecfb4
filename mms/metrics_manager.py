"""The metrics of the server under their name of 0.4, for service files that update them.

``inference`` of 0.4 recorded latencies here, so service classes that override it do the same. These
latencies become the stages of the current prediction. The server records all other metrics itself.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from mms_server.metrics import stage_timing

# Names of 0.4 -> unit, and the stage whose duration the metric is.
_OF_MODELS: Final = {
    "PredictionTotal": ("Count", ""),
    "Prediction4XX": ("Count", ""),
    "Prediction5XX": ("Count", ""),
    "LatencyOverall": ("Milliseconds", ""),
    "LatencyPreprocess": ("Milliseconds", stage_timing.PREPROCESS),
    "LatencyInference": ("Milliseconds", stage_timing.INFERENCE),
    "LatencyPostprocess": ("Milliseconds", stage_timing.POSTPROCESS),
}


@dataclass(frozen=True)
class Metric:
    """One metric of one model."""

    name: str
    model_name: str
    unit: str

    def update(self, metric: Any) -> None:
        """Add a value: milliseconds of a stage are added to the current prediction.

        The name of the parameter is that of 0.4. Values of other metrics have no effect. Values
        that are not numbers have no effect either, because an update must not fail a prediction.
        """
        stage = _OF_MODELS[self.name][1]
        try:
            seconds = float(metric) / 1000
        except (TypeError, ValueError):
            return
        if stage:
            stage_timing.record(stage, seconds)


class _Metrics(MutableMapping[str, Any]):
    """``<model>_<metric>`` -> :class:`Metric`, for any model; and entries of service files."""

    def __init__(self) -> None:
        self._custom: dict[str, Any] = {}

    def __getitem__(self, key: str) -> Any:
        if key in self._custom:
            return self._custom[key]
        model, _, name = key.rpartition("_")
        if not model or name not in _OF_MODELS:
            raise KeyError(key)
        return Metric(name, model, _OF_MODELS[name][0])

    def __setitem__(self, key: str, value: Any) -> None:
        self._custom[key] = value

    def __delitem__(self, key: str) -> None:
        del self._custom[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._custom)

    def __len__(self) -> int:
        return len(self._custom)


class MetricsManager:
    """Has the mapping ``metrics``: ``metrics["resnet-18_LatencyInference"].update(12.5)``."""

    metrics: ClassVar[MutableMapping[str, Any]] = _Metrics()
