"""The backend ``onnxruntime``: a network in ONNX Runtime with the interface of MXNet's Module."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, ClassVar

import mxnet as mx
import numpy as np

from mms_server.config.backend_names import ONNXRUNTIME
from mms_server.inference.backends.converted_network import Conversion, ConversionCache
from mms_server.inference.backends.onnx_export import convert


class OnnxModule:
    """Replaces the base service's ``mx_model``: it has the methods that services call.

    Inputs and outputs are NDArrays. The batch size may vary; the other sizes are those of
    ``data_shapes``.
    """

    takes_any_batch: ClassVar = True
    """A batch of any size needs no binding: see ``network_of`` of ``batch_compute``."""

    def __init__(self, session: Any, data_shapes: Sequence[Any]) -> None:
        self._session = session
        self._outputs: list[Any] = []
        self.data_shapes = list(data_shapes)
        self.data_names = [desc.name for desc in data_shapes]

    @classmethod
    def from_module(cls, module: Any, cache: ConversionCache | None = None) -> OnnxModule:
        """Return the network of a Module; a network in ``cache`` is used without conversion.

        Raises:
            ConversionError: the network cannot be converted.
        """
        cache = cache or ConversionCache()
        converter = {"engine": ONNXRUNTIME, "mxnet": mx.__version__, "onnx": version("onnx")}
        cached = cache.read(converter)
        if cached is not None:
            return cls(create_session(cached.data), module.data_shapes)
        conversion = Conversion(converter, convert(module))
        session = create_session(conversion.data)
        cache.publish(conversion)
        return cls(session, module.data_shapes)

    def forward(self, data_batch: Any, is_train: bool = False) -> None:  # noqa: FBT001, FBT002 - Module's
        """Compute the outputs of a ``DataBatch``."""
        del is_train
        arrays = (array.asnumpy().astype(np.float32, copy=False) for array in data_batch.data)
        outputs = self._session.run(None, dict(zip(self.data_names, arrays, strict=True)))
        self._outputs = [mx.nd.array(output, dtype=output.dtype) for output in outputs]

    def get_outputs(self) -> list[Any]:
        """Return the outputs of the last forward."""
        return self._outputs


def create_session(model: bytes) -> Any:
    """Return a session of ONNX Runtime that computes an ONNX model on the CPU with one thread.

    Threads of a session would not survive the fork of the workers.
    """
    # The import takes memory and part of a second, which models on other backends must not cost.
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # Errors only: an operator cannot do anything about its warnings, for example unused constants.
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
