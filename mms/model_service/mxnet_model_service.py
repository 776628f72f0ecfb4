"""The base service under its 0.4 name."""

from mms_server.services.model_service import SingleNodeService
from mms_server.services.mxnet_model_service import MXNetBaseService, check_input_shape

__all__ = ["MXNetBaseService", "SingleNodeService", "check_input_shape"]
