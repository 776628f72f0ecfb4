"""The Gluon vision service under its name of 0.4."""

from mms_server.inference.services.gluon_vision_service import GluonVisionService

__all__ = ["GluonVisionService"]
