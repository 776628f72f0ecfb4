"""``GET /metrics`` for Prometheus: the counters of all processes, and the state of the models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from typing import Any, Final

import bottle
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder

from mms_server.rest.model_registry import ModelFacts, ModelRegistry
from mms_server.rest.responses import Raw

_ENGINE: Final = "mxnet"


def metrics_route(app: Any, models: ModelRegistry, collect: Callable[[], Iterable[Any]]) -> None:
    """Add the route; ``collect`` returns the metrics of all processes."""
    engine = _engine_version()

    def metrics() -> Raw:
        registry = CollectorRegistry()
        registry.register(_Collector(lambda: [*collect(), *_state(models, engine)]))
        encode, content_type = choose_encoder(bottle.request.environ.get("HTTP_ACCEPT", ""))
        return Raw(encode(registry), content_type)

    app.get("/metrics", callback=metrics)


class _Collector:
    """A collector, as Prometheus' client defines it."""

    def __init__(self, collect: Callable[[], Iterable[Any]]) -> None:
        self.collect = collect

    def describe(self) -> list[Any]:
        """Return nothing: the names are known only when the files are read."""
        return []


def _state(models: ModelRegistry, engine: str) -> Iterator[Any]:
    found = models.models()
    yield InfoMetricFamily(
        "mms_engine", "The engine of this server.", {"engine": _ENGINE, "version": engine}
    )
    yield _gauge(
        "mms_model_ready",
        "Whether a request for the model would be answered.",
        {name: float(facts.ready) for name, facts in found.items()},
    )
    yield _gauge(
        "mms_workers",
        "Worker processes that are alive.",
        {name: float(facts.workers) for name, facts in found.items()},
    )
    yield _gauge(
        "mms_workers_wanted",
        "Worker processes that mms.conf asks for.",
        {name: float(facts.workers_wanted) for name, facts in found.items()},
    )
    info = InfoMetricFamily("mms_model", "What is served under a name.", labels=["model"])
    for name, facts in found.items():
        info.add_metric([name], _info(facts))
    yield info


def _gauge(name: str, documentation: str, values: dict[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, documentation, labels=["model"])
    for model, value in values.items():
        family.add_metric([model], value)
    return family


def _info(facts: ModelFacts) -> dict[str, str]:
    return {
        "release": facts.version,
        "sha256": facts.archive_sha256,
        "generation": str(facts.generation or ""),
    }


def _engine_version() -> str:
    """Return the engine's installed version without importing it; empty if not installed."""
    for name in metadata.packages_distributions().get(_ENGINE, []):
        return metadata.version(name)
    return ""
