"""Served by the vision service of the server."""

from mms.model_service.mxnet_vision_service import MXNetVisionService

__all__ = ["MXNetVisionService"]
