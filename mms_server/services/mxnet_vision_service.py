"""The vision service: pictures in, the five likeliest classes out (contract, section 10).

The exporter copies this file into archives for ``image/jpeg``, so it must work as a service file
on its own.
"""

from __future__ import annotations

from typing import Any

from mms.model_service.mxnet_model_service import MXNetBaseService
from mms.utils.mxnet import image, ndarray


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
        picture = image.read(encoded)
        return image.transform_shape(image.resize(picture, width, height))

    def _postprocess(self, data: list[Any]) -> Any:
        if not hasattr(self, "labels"):
            raise RuntimeError(
                "Can't find labels attribute. Did you put synset.txt file into model archive or "
                "manually load class label file in __init__?"
            )
        return [ndarray.top_probability(output, self.labels, top=5) for output in data]
