"""The base services under their 0.4 names."""

from mms_server.inference.services.gluon_service import GluonImperativeBaseService
from mms_server.inference.services.model_service import SingleNodeService
from mms_server.inference.services.mxnet_model_service import MXNetBaseService, check_input_shape

__all__ = [
    "GluonImperativeBaseService",
    "MXNetBaseService",
    "SingleNodeService",
    "check_input_shape",
]
