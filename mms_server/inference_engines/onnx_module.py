"""A network that ONNX Runtime computes, with the face of MXNet's Module that services use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import mxnet as mx
import numpy as np

from mms_server.inference_engines.to_onnx import converted


class OnnxModule:
    """What the base service's ``mx_model`` is when ONNX Runtime computes: arrays in, arrays out.

    It takes and gives NDArrays, as a Module does, with any number of rows; the other sizes are
    those of ``data_shapes``. One thread computes: a session's own threads would not survive the
    fork of the workers.
    """

    def __init__(self, session: Any, data_shapes: Sequence[Any]) -> None:
        self._session = session
        self._outputs: list[Any] = []
        self.data_shapes = list(data_shapes)
        self.data_names = [row.name for row in data_shapes]

    @classmethod
    def of(cls, module: Any) -> OnnxModule:
        """Return the network of a Module.

        Raises:
            ConversionError: it cannot be converted.
            RuntimeError, ValueError: ONNX Runtime does not take what it was converted to.
        """
        return cls(session_of(converted(module)), module.data_shapes)

    def forward(self, data_batch: Any, is_train: bool = False) -> None:  # noqa: FBT001, FBT002 - Module's
        """Compute the outputs of a ``DataBatch``."""
        del is_train
        inputs = dict(zip(self.data_names, data_batch.data, strict=True))
        self._outputs = self.compute({name: each.asnumpy() for name, each in inputs.items()})

    def get_outputs(self) -> list[Any]:
        """Return the outputs of the last forward."""
        return self._outputs

    def compute(self, inputs: Mapping[str, Any]) -> list[Any]:
        """Return the outputs, as NDArrays, for numpy arrays by the inputs' names."""
        given = {name: each.astype(np.float32, copy=False) for name, each in inputs.items()}
        found = self._session.run(None, given)
        return [mx.nd.array(each, dtype=each.dtype) for each in found]


class OnnxNetwork:
    """An :class:`OnnxModule` on rows (:class:`mms_server.batching.joint.Network`)."""

    def __init__(self, module: OnnxModule) -> None:
        self._module = module
        self.dtype: Any = np.float32

    def prepare(self, size: int) -> None:
        """Do nothing: it takes any number of rows."""

    def forget(self, size: int) -> None:
        """Do nothing."""

    def run(self, rows: Sequence[Sequence[Any]], size: int) -> list[Sequence[Any]]:
        """Return the outputs of the rows.

        Raises:
            ValueError: they have not one row for each of the batch.
        """
        del size
        columns = zip(self._module.data_names, zip(*rows, strict=True), strict=True)
        inputs = {
            name: np.concatenate([each.asnumpy() for each in column]) for name, column in columns
        }
        outputs = self._module.compute(inputs)
        if any(not each.shape or each.shape[0] != len(rows) for each in outputs):
            raise ValueError(f"the outputs of a batch of {len(rows)} have other sizes")
        return [[each[row : row + 1] for each in outputs] for row in range(len(rows))]


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
