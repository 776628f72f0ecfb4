"""All routes that predict, of every protocol, for models that are loaded in this process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mms_server.contract_routes import contract_routes
from mms_server.oip_routes import oip_routes
from mms_server.prediction_routes import prediction_routes
from mms_server.servable import Servable


def model_routes(app: Any, models: Mapping[str, Servable]) -> None:
    """Add the routes of these models."""
    contract_routes(app, models)
    prediction_routes(app, models)
    oip_routes(app, models)
