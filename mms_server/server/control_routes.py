"""The routes for all models of a host: health, lists, descriptions. No model is asked.

On a host the control application has these routes, and nginx passes it every path that is not a
model's. A standalone server has them beside the routes of its models.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NoReturn

import bottle

from mms_server.core.errors import (
    BadInputError,
    ModelNotFoundError,
    NotFoundError,
    UnavailableError,
)
from mms_server.metrics.mms04_metrics import DESCRIPTIONS, PINGS
from mms_server.rest.model_registry import ModelFacts, ModelRegistry
from mms_server.rest.oip import metadata
from mms_server.rest.openapi.document import openapi

Count = Callable[[str], None]

_UNAVAILABLE: Final = 503
_MAX_LIMIT: Final = 100
_METHODS: Final = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]
_HEALTHY: Final = {True: {"health": "healthy!"}, False: {"health": "unhealthy!"}}
_PREDICTIONS: Final = (
    "/<name>/predict",
    "/predictions/<name>",
    "/models/<name>/invoke",
    "/v2/models/<name>/infer",
    "/v2/models/<name>/versions/<version>/infer",
)


def _uncounted(_name: str) -> None:
    """Count nothing."""


def host_routes(app: Any, registry: ModelRegistry, count: Count = _uncounted) -> None:
    """Add the routes; ``count`` gets the name of the metric of 0.4 that a request adds to."""
    host = _Host(registry, count)
    app.get("/", callback=host.ping)
    app.get("/ping", callback=host.ping)
    app.get("/api-description", callback=host.description)
    app.get("/openapi.json", callback=host.openapi)
    app.get("/models", callback=host.models)
    app.get("/models/<name>", callback=host.model)
    app.get("/<name>/ping", callback=host.model_ping)
    app.get("/v2", callback=metadata.server)
    app.get("/v2/health/live", callback=lambda: {"live": True})
    app.get("/v2/health/ready", callback=host.oip_ready)
    for path in ("/v2/models/<name>", "/v2/models/<name>/versions/<version>"):
        app.get(path, callback=host.oip_model)
        app.get(f"{path}/ready", callback=host.oip_model_ready)
    for path in _PREDICTIONS:
        app.route(path, _METHODS, host.no_prediction)
    taken = {route.method for route in app.routes if route.rule == "/invocations"}
    app.route("/invocations", [one for one in _METHODS if one not in taken], host.no_invocation)


class _Host:
    """The callbacks; each reads the registry once."""

    def __init__(self, registry: ModelRegistry, count: Count) -> None:
        self._registry = registry
        self._count = count

    def description(self) -> dict[str, Any]:
        self._count(DESCRIPTIONS)
        return {"description": self._registry.description()}

    def ping(self) -> dict[str, Any]:
        self._count(PINGS)
        # 0.4 answered 200 here too, and balancers sent requests to hosts that could not serve.
        answer: dict[str, Any] = _health(ready=self._registry.healthy())
        if bottle.response.status_code != _UNAVAILABLE:
            return answer
        troubles = self._registry.troubles()
        return {**answer, "models": dict(troubles)} if troubles else answer

    def model_ping(self, name: str) -> dict[str, str]:
        return _health(ready=self._model(name).ready)

    def openapi(self) -> dict[str, Any]:
        found = self._registry.models()
        return openapi({name: facts.signature for name, facts in found.items()}, "/")

    def models(self) -> dict[str, Any]:
        """List the models by name, in pages as 1.x does."""
        found = self._registry.models()
        names = sorted(found)
        query = bottle.request.query
        limit = _number(query.get("limit"), "limit", 1, _MAX_LIMIT, _MAX_LIMIT)
        start = _number(query.get("next_page_token"), "next_page_token", 0, len(names), 0)
        rows = [_short(found[name]) for name in names[start : start + limit]]
        if start + limit < len(names):
            return {"models": rows, "nextPageToken": str(start + limit)}
        return {"models": rows}

    def model(self, name: str) -> dict[str, Any]:
        facts = self._model(name)
        return {
            **_short(facts),
            **({"reason": facts.trouble} if facts.trouble else {}),
            "minWorkers": facts.workers_wanted,
            "maxWorkers": facts.workers_wanted,
            "batchSize": facts.batch_size,
            "engine": facts.engine,
            "workers": [{"id": str(number), "status": "READY"} for number in range(facts.workers)],
            "inputs": metadata.inputs(facts.signature),
            "outputs": metadata.outputs(facts.signature),
        }

    def oip_ready(self) -> dict[str, bool]:
        ready = self._registry.healthy()
        if not ready:
            bottle.response.status = _UNAVAILABLE
        return {"ready": ready}

    def oip_model(self, name: str, version: str | None = None) -> dict[str, Any]:
        return metadata.model(self._model(name, version))

    def oip_model_ready(self, name: str, version: str | None = None) -> dict[str, Any]:
        facts = self._model(name, version)
        if not facts.ready:
            bottle.response.status = _UNAVAILABLE
        return {"name": facts.name, "ready": facts.ready}

    def no_prediction(self, name: str, version: str | None = None) -> NoReturn:
        """Refuse a prediction: no such model, the wrong method, or the model is not ready."""
        facts = self._model(name, version)
        _require_post()
        raise UnavailableError(
            f"Model {facts.name} is not ready.", fix="try again in a moment; see GET /ping."
        )

    def no_invocation(self) -> NoReturn:
        _require_post()
        found = self._registry.models()
        name = bottle.request.query.get("model_name")
        if not name and len(found) != 1:
            raise BadInputError(
                f"{len(found)} models are served: /invocations does not say which one it means.",
                fix="add ?model_name=<model>.",
            )
        self.no_prediction(name or next(iter(found)))

    def _model(self, name: str, version: str | None = None) -> ModelFacts:
        facts: ModelFacts | None = self._registry.models().get(name)
        if facts is None:
            raise ModelNotFoundError(name)
        if version not in {None, facts.version}:
            raise NotFoundError(f"Model {name} has no version {version}; it has {facts.version}.")
        return facts


def _health(*, ready: bool) -> dict[str, str]:
    if not ready:
        bottle.response.status = _UNAVAILABLE
    return _HEALTHY[ready]


def _short(facts: ModelFacts) -> dict[str, Any]:
    status = "Healthy" if facts.ready else "Unhealthy"
    return {"modelName": facts.name, "modelVersion": facts.version, "status": status}


def _require_post() -> None:
    if bottle.request.method != "POST":
        raise bottle.HTTPError(405, Allow="POST")


def _number(text: str | None, name: str, least: int, most: int, default: int) -> int:
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or not least <= int(text[:9]):
        raise BadInputError(f"{name} is not a whole number from {least}.")
    return min(int(text[:9]), most)
