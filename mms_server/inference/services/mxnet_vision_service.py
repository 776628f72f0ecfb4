"""Image classification with a symbol: the vision service of 0.4 (docs/service_classes.md)."""

from __future__ import annotations

from typing import Any

import mxnet as mx

from mms_server.inference.image_decoder import decode
from mms_server.inference.services import image, ndarray
from mms_server.inference.services.labels import NO_LABELS
from mms_server.inference.services.mxnet_model_service import MXNetBaseService


class MXNetVisionService(MXNetBaseService):
    """Classifies images; the answer is the five most probable classes of each output.

    Pixels are not scaled or centered: the network gets the decoded values.
    """

    def _preprocess(self, data: list[Any]) -> list[Any]:
        inputs = self.signature["inputs"]
        return [
            self._read_image(encoded, *spec["data_shape"][2:])
            for encoded, spec in zip(data, inputs, strict=True)
        ]

    @staticmethod
    def _read_image(encoded: bytes, height: int, width: int) -> Any:
        """Return an image as [1, 3, height, width]."""
        pixels = decode(encoded)
        if pixels is None:
            decoded = image.read(encoded)
        elif pixels.shape[:2] == (height, width):
            return image.channels_first(pixels)
        else:
            decoded = mx.nd.array(pixels, dtype=pixels.dtype)
        return image.transform_shape(image.resize(decoded, width, height))

    def _postprocess(self, data: list[Any]) -> Any:
        if not hasattr(self, "labels"):
            raise RuntimeError(NO_LABELS)
        return [ndarray.top_probability(output, self.labels, top=5) for output in data]
