"""The vision service: pictures in, the five likeliest classes out (contract, section 10)."""

from __future__ import annotations

from typing import Any

import mxnet as mx

from mms_server.inference.image_decoder import decode
from mms_server.inference.services import image, ndarray
from mms_server.inference.services.labels import NO_LABELS
from mms_server.inference.services.mxnet_model_service import MXNetBaseService


class MXNetVisionService(MXNetBaseService):
    """Classify pictures; nothing is scaled or centered: the model sees the decoded values."""

    def _preprocess(self, data: list[Any]) -> list[Any]:
        rows = self.signature["inputs"]
        return [
            self._picture(encoded, *row["data_shape"][2:])
            for encoded, row in zip(data, rows, strict=True)
        ]

    @staticmethod
    def _picture(encoded: bytes, height: int, width: int) -> Any:
        pixels = decode(encoded)
        if pixels is None:
            picture = image.read(encoded)
        elif pixels.shape[:2] == (height, width):
            return image.channels_first(pixels)
        else:
            picture = mx.nd.array(pixels, dtype=pixels.dtype)
        return image.transform_shape(image.resize(picture, width, height))

    def _postprocess(self, data: list[Any]) -> Any:
        if not hasattr(self, "labels"):
            raise RuntimeError(NO_LABELS)
        return [ndarray.top_probability(output, self.labels, top=5) for output in data]
