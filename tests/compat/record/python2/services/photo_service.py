"""One leaf class of the vision service, so that 0.4 itself can load the archive."""

from mms.model_service.mxnet_vision_service import MXNetVisionService


class PhotoService(MXNetVisionService):
    """The vision service, unchanged."""
