"""The routes of MMS 0.4 for a model: predict and ping (compatibility.md, 7.1 to 7.4)."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import bottle

from mms_server.core import request_body
from mms_server.inference.servable import Servable
from mms_server.rest.form_parser import parse
from mms_server.rest.handler_requests import handle
from mms_server.rest.mms04.inputs import read_inputs
from mms_server.rest.observed_route import observe_route

HEALTHY = {"health": "healthy!"}
UNHEALTHY = {"health": "unhealthy!"}


def mms04_routes(app: Any, models: Mapping[str, Servable]) -> None:
    """Add ``POST /<name>/predict`` and ``GET /<name>/ping`` for each model."""
    for name, servable in models.items():
        app.post(f"/{name}/predict", callback=observe_route(servable, predict))
        app.get(f"/{name}/ping", callback=functools.partial(ping, [servable]))


def ping(servables: list[Servable]) -> dict[str, str]:
    """Answer 200 if all of these models are healthy, else 503."""
    if all(servable.healthy() for servable in servables):
        return HEALTHY
    bottle.response.status = 503
    return UNHEALTHY


def predict(servable: Servable) -> Any:
    """Answer the prediction request that Bottle is handling.

    Raises:
        RequestError: the request does not match the signature, or the model failed on it.
    """
    signature = servable.model.signature
    if signature is None:
        return handle(servable, envelope=True)
    environ = bottle.request.environ
    data = request_body.read(environ, servable.limits.max_body_bytes)
    form = parse(environ.get("CONTENT_TYPE", ""), data, servable.limits)
    inputs = read_inputs(signature, form, servable.limits)
    return {"prediction": servable.infer(inputs)}
