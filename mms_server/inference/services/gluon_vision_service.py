"""Image classification with a Gluon network, as 0.4 has it (docs/service_classes.md)."""

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
    """Classifies images, which are normalized as for the networks of Gluon's model zoo.

    The network gets float32 [1, 3, H, W], where H and W are those of the signature, and returns
    scores. The answer is the five most probable classes of each output.
    """

    def _preprocess(self, data: list[bytes]) -> list[Any]:
        inputs = self.signature["inputs"]
        return [
            self._read_image(encoded, *spec["data_shape"][2:])
            for encoded, spec in zip(data, inputs, strict=True)
        ]

    @staticmethod
    def _read_image(encoded: bytes, height: int, width: int) -> Any:
        """Return an image as float32 [1, 3, height, width], normalized."""
        resized = image.resize(image.read(encoded), width, height, _BILINEAR)
        scaled = resized.astype("float32") / 255
        return image.transform_shape(
            image.color_normalize(scaled, mx.nd.array(_MEAN), mx.nd.array(_STD))
        )

    def _inference(self, data: list[Any]) -> list[Any]:
        super()._inference(data)
        outputs = self.net(*(array.as_in_context(self.ctx) for array in data))
        return [output.softmax() for output in _output_list(outputs)]

    def _postprocess(self, data: Any) -> Any:
        if not hasattr(self, "labels"):
            raise RuntimeError(NO_LABELS)
        outputs = _output_list(data)
        return [ndarray.top_probability(output, self.labels, top=5) for output in outputs]


def _output_list(outputs: Any) -> list[Any]:
    """Return outputs as a list; networks with one output, and subclasses, return a bare array."""
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]
