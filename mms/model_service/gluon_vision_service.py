"""The Gluon vision service under its 0.4 name."""

from mms_server.inference.services.gluon_vision_service import GluonVisionService

__all__ = ["GluonVisionService"]
