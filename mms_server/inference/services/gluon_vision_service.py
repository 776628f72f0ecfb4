"""The vision service around a Gluon network (contract, section 10)."""

from __future__ import annotations

from typing import Any

import mxnet as mx

from mms_server.inference.services import image, ndarray
from mms_server.inference.services.gluon_service import GluonImperativeBaseService
from mms_server.inference.services.labels import NO_LABELS

_BILINEAR = 1
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


class GluonVisionService(GluonImperativeBaseService):
    """Classify pictures, normalized as the networks of Gluon's model zoo are trained.

    The network gets float32 of the signature's shape [N, 3, H, W] and gives scores; the answer is
    the five likeliest classes of each of its outputs.
    """

    def _preprocess(self, data: list[bytes]) -> list[Any]:
        rows = self.signature["inputs"]
        return [
            self._picture(encoded, *row["data_shape"][2:])
            for encoded, row in zip(data, rows, strict=True)
        ]

    @staticmethod
    def _picture(encoded: bytes, height: int, width: int) -> Any:
        picture = image.resize(image.read(encoded), width, height, _BILINEAR)
        scaled = picture.astype("float32") / 255
        return image.transform_shape(
            image.color_normalize(scaled, mx.nd.array(_MEAN), mx.nd.array(_STD))
        )

    def _inference(self, data: list[Any]) -> list[Any]:
        super()._inference(data)
        outputs = self.net(*(array.as_in_context(self.ctx) for array in data))
        return [output.softmax() for output in _each(outputs)]

    def _postprocess(self, data: Any) -> Any:
        if not hasattr(self, "labels"):
            raise RuntimeError(NO_LABELS)
        return [ndarray.top_probability(output, self.labels, top=5) for output in _each(data)]


def _each(outputs: Any) -> list[Any]:
    """Return outputs as a list: a network with one output, and subclasses, give it bare."""
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]
