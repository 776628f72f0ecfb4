"""The vision service under its name of 0.4."""

from mms_server.inference.services.mxnet_vision_service import MXNetVisionService

__all__ = ["MXNetVisionService"]
