"""The abstract service classes under their names of 0.4."""

from mms_server.inference.services.model_service import (
    URL_PREFIX,
    ModelService,
    MultiNodesService,
    SingleNodeService,
    load_service,
)

__all__ = ["URL_PREFIX", "ModelService", "MultiNodesService", "SingleNodeService", "load_service"]
