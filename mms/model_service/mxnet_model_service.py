"""The base services under their names of 0.4."""

from mms_server.inference.services.gluon_service import GluonImperativeBaseService
from mms_server.inference.services.model_service import SingleNodeService
from mms_server.inference.services.mxnet_model_service import MXNetBaseService, check_input_shape

__all__ = [
    "GluonImperativeBaseService",
    "MXNetBaseService",
    "SingleNodeService",
    "check_input_shape",
]
