"""A network that ONNX Runtime computes, with the face of MXNet's Module that services use."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, ClassVar

import mxnet as mx
import numpy as np

from mms_server.config.backend_names import ONNXRUNTIME
from mms_server.inference.backends.converted_network import Conversion, ConversionCache
from mms_server.inference.backends.onnx_export import converted


class OnnxModule:
    """What the base service's ``mx_model`` is when ONNX Runtime computes: arrays in, arrays out.

    It takes and gives NDArrays, as a Module does, with any number of rows; the other sizes are
    those of ``data_shapes``. One thread computes: a session's own threads would not survive the
    fork of the workers.
    """

    takes_any_batch: ClassVar = True
    """Batches of any size need no binding: see ``network_of`` of ``batch_compute``."""

    def __init__(self, session: Any, data_shapes: Sequence[Any]) -> None:
        self._session = session
        self._outputs: list[Any] = []
        self.data_shapes = list(data_shapes)
        self.data_names = [row.name for row in data_shapes]

    @classmethod
    def of(cls, module: Any, kept: ConversionCache | None = None) -> OnnxModule:
        """Return the network of a Module; what is ``kept`` is taken as it is.

        Raises:
            ConversionError: it cannot be converted.
        """
        kept = kept or ConversionCache()
        made_by = {"engine": ONNXRUNTIME, "mxnet": mx.__version__, "onnx": version("onnx")}
        before = kept.read(made_by)
        if before is not None:
            return cls(session_of(before.data), module.data_shapes)
        made = Conversion(made_by, converted(module))
        session = session_of(made.data)
        kept.leave(made)
        return cls(session, module.data_shapes)

    def forward(self, data_batch: Any, is_train: bool = False) -> None:  # noqa: FBT001, FBT002 - Module's
        """Compute the outputs of a ``DataBatch``."""
        del is_train
        arrays = (each.asnumpy().astype(np.float32, copy=False) for each in data_batch.data)
        found = self._session.run(None, dict(zip(self.data_names, arrays, strict=True)))
        self._outputs = [mx.nd.array(each, dtype=each.dtype) for each in found]

    def get_outputs(self) -> list[Any]:
        """Return the outputs of the last forward."""
        return self._outputs


def session_of(model: bytes) -> Any:
    """Return a session of ONNX Runtime that computes a model with one thread on the processor."""
    # It takes memory and a part of a second, which models of MXNet are not to pay.
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # What it warns of, as constants that it does not use, is nothing that an operator could mend.
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
