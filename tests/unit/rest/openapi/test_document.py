"""The OpenAPI document is valid and has every route of the server."""

from __future__ import annotations

from typing import Any

import bottle
import pytest
from openapi_spec_validator import validate

from mms_server.archives.signature import IMAGE, JSON, Signature, Tensor
from mms_server.rest.openapi.document import openapi
from mms_server.server.control_routes import host_routes
from mms_server.server.exposition import metrics_route

PICTURE = Signature((Tensor("data", (0, 3, 8, 8)),), IMAGE, (Tensor("out", (0, 2)),), JSON)
PAIR = Signature((Tensor("left", (0, 3)), Tensor("right", (0, 3))), JSON, (), JSON)


@pytest.mark.parametrize("models", [{}, {"a": PICTURE}, {"a": PAIR, "b": PICTURE, "c.1-x": None}])
def test_the_document_is_valid(models: dict[str, Signature | None]) -> None:
    validate(openapi(models, "/"))


def test_operation_ids_are_unique() -> None:
    document = openapi({"a": PAIR, "b": PICTURE}, "/")
    ids = [row["operationId"] for path in document["paths"].values() for row in path.values()]
    assert len(set(ids)) == len(ids)
    assert "a_predict" in ids


class _Nothing:
    def healthy(self) -> bool:
        return False

    def models(self) -> dict[str, Any]:
        return {}

    def description(self) -> dict[str, Any]:
        return {}


def test_every_route_of_the_host_is_in_it() -> None:
    app = bottle.Bottle()
    host_routes(app, _Nothing())
    metrics_route(app, _Nothing(), list)
    rules = {route.rule for route in app.routes if route.method == "GET"}
    templates = {rule.replace("<", "{").replace(">", "}") for rule in rules}
    document = openapi({"{name}": PAIR}, "http://host")
    assert templates <= set(document["paths"])
    assert document["servers"] == [{"url": "http://host"}]
