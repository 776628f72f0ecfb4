"""The prediction routes of MMS 1.x: bare answers, JSON errors (compatibility.md, 17.3).

``POST /predictions/<model>``, ``POST /models/<model>/invoke``, and ``POST /invocations`` with
``?model_name=`` or for the only model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import bottle

from mms_server.core import request_body
from mms_server.core.errors import BadInputError, ModelNotFoundError
from mms_server.inference.servable import Servable
from mms_server.rest.handler_requests import handle
from mms_server.rest.mms1.inputs import read_any
from mms_server.rest.observed_route import observe_route
from mms_server.rest.openapi.document import openapi
from mms_server.rest.responses import Raw, json_body, preflight


def prediction_routes(app: Any, models: Mapping[str, Servable]) -> None:
    """Add the routes for each model, and ``/invocations`` for all of them."""
    callbacks = {name: observe_route(servable, predict) for name, servable in models.items()}
    for name, callback in callbacks.items():
        app.post(f"/predictions/{name}", callback=callback)
        app.post(f"/models/{name}/invoke", callback=callback)
        app.route(f"/predictions/{name}", "OPTIONS", partial(_describe, name, models[name]))
    app.post("/invocations", callback=partial(_invoke, callbacks))


def predict(servable: Servable) -> Any:
    """Answer the prediction request that Bottle is handling; the answer has no envelope.

    Raises:
        RequestError: the body does not match the model's signature, or the model failed on it.
    """
    signature = servable.model.signature
    if signature is None:
        return handle(servable, envelope=False)
    environ = bottle.request.environ
    data = request_body.read(environ, servable.limits.max_body_bytes)
    inputs = read_any(signature, environ.get("CONTENT_TYPE", ""), data, servable.limits)
    return servable.infer(inputs)


def _invoke(callbacks: Mapping[str, Callable[[], Any]]) -> Any:
    return callbacks[invoked_model(list(callbacks))]()


def invoked_model(models: list[str]) -> str:
    """Return the name of the model for a request to ``/invocations``.

    Raises:
        ModelNotFoundError: the request names a model that is not served.
        BadInputError: the request names no model, and not exactly one is served.
    """
    name = bottle.request.query.get("model_name")
    if not name:
        if len(models) == 1:
            return models[0]
        raise BadInputError(
            f"{len(models)} models are served: /invocations does not say which one it means.",
            fix="add ?model_name=<model>.",
        )
    if name not in models:
        raise ModelNotFoundError(name)
    return str(name)


def _describe(name: str, servable: Servable) -> Raw:
    """Answer OPTIONS: a preflight as on other paths, else with the model's API as 1.x does."""
    environ = bottle.request.environ
    bottle.response.set_header("Allow", "POST, OPTIONS")
    if environ.get("HTTP_ACCESS_CONTROL_REQUEST_METHOD"):
        return Raw(preflight(), "text/html")
    about = openapi({name: servable.model.signature}, "/")
    return Raw(json_body(about), "application/json")
