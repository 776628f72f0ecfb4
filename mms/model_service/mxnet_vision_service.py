"""The vision service under its 0.4 name."""

from mms_server.inference.services.mxnet_vision_service import MXNetVisionService

__all__ = ["MXNetVisionService"]
