"""A network on whole numbers of 8 bits, by MXNet's own quantization for oneDNN.

What a layer's numbers are like is taken from calibration inputs: their least and largest values.
https://mxnet.apache.org/versions/1.9.1/api/python/docs/tutorials/performance/backend/mkldnn/mkldnn_quantization.html
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import mxnet as mx
import numpy as np
from mxnet.contrib.quantization import quantize_model_mkldnn

_log = logging.getLogger(__name__)
_STDERR: Final = 2


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Let what the engine's own code writes about each layer not fill the journal."""
    kept = os.dup(_STDERR)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, _STDERR)
        yield
    finally:
        os.dup2(kept, _STDERR)
        os.close(kept)
        os.close(nowhere)


def quantized(module: Any, rows: Sequence[Sequence[Any]], ctx: Any) -> Any:
    """Return a Module that computes as ``module`` does, in 8 bits where oneDNN can.

    ``rows`` are the inputs of the network that it is calibrated with, each with a batch of one.

    Raises:
        MXNetError, ValueError, TypeError, KeyError: the network cannot be quantized.
    """
    names = [row.name for row in module.data_shapes]
    arguments, auxiliary = module.get_params()
    columns = {
        name: mx.nd.concat(*(row[place].astype(np.float32) for row in rows), dim=0)
        for place, name in enumerate(names)
    }
    with _without_stderr():
        symbol, arguments, auxiliary = quantize_model_mkldnn(
            module.symbol,
            arguments,
            auxiliary,
            data_names=names,
            label_names=None,
            ctx=ctx,
            calib_mode="naive",
            calib_data=mx.io.NDArrayIter(columns, batch_size=1),
            num_calib_examples=len(rows),
            quantized_dtype="auto",
            logger=_log,
        )
    made = mx.mod.Module(symbol, data_names=names, label_names=None, context=ctx)
    made.bind(data_shapes=module.data_shapes, for_training=False)
    made.set_params(arguments, auxiliary, allow_missing=True, allow_extra=True)
    return made
