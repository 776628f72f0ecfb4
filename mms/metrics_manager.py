"""The metrics of the server under their 0.4 name, for service files that feed them.

0.4's own ``inference`` fed latencies here, so service classes with an ``inference`` of their own do
too. What they feed becomes the stages of the prediction at hand; the server counts all else itself.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from mms_server.metrics import stage_timing

# By the contract's name (section 11): the unit, and the stage that it is the duration of.
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
        """Add a value: milliseconds of a stage count for the prediction that is being computed.

        The parameter's name is the contract's. Values of other metrics have no effect, and so have
        values that are no numbers: nothing that is fed here may break a prediction.
        """
        stage = _OF_MODELS[self.name][1]
        try:
            seconds = float(metric) / 1000
        except (TypeError, ValueError):
            return
        if stage:
            stage_timing.record(stage, seconds)


class _Metrics(MutableMapping[str, Any]):
    """``<model>_<metric>`` -> metric, of any model; and whatever service files put in."""

    def __init__(self) -> None:
        self._own: dict[str, Any] = {}

    def __getitem__(self, key: str) -> Any:
        if key in self._own:
            return self._own[key]
        model, _, name = key.rpartition("_")
        if not model or name not in _OF_MODELS:
            raise KeyError(key)
        return Metric(name, model, _OF_MODELS[name][0])

    def __setitem__(self, key: str, value: Any) -> None:
        self._own[key] = value

    def __delitem__(self, key: str) -> None:
        del self._own[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._own)

    def __len__(self) -> int:
        return len(self._own)


class MetricsManager:
    """Holder of ``metrics``: read ``metrics["resnet-18_LatencyInference"]``, feed by ``update``."""

    metrics: ClassVar[MutableMapping[str, Any]] = _Metrics()
