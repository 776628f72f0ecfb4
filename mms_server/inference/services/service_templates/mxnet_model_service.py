"""Served by the base service of the server."""

from mms.model_service.mxnet_model_service import MXNetBaseService

__all__ = ["MXNetBaseService"]
