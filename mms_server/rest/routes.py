"""The prediction routes of all protocols, for models that are loaded in this process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mms_server.inference.servable import Servable
from mms_server.rest.mms04.routes import mms04_routes
from mms_server.rest.mms1.routes import prediction_routes
from mms_server.rest.oip.routes import oip_routes


def model_routes(app: Any, models: Mapping[str, Servable]) -> None:
    """Add the routes of these models."""
    mms04_routes(app, models)
    prediction_routes(app, models)
    oip_routes(app, models)
