"""One leaf class of the base service, so that 0.4 itself can load the archive."""

from mms.model_service.mxnet_model_service import MXNetBaseService


class NumbersService(MXNetBaseService):
    """The base service, unchanged."""
