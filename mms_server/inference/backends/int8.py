"""A network on whole numbers of 8 bits, by MXNet's own quantization for oneDNN.

What a layer's numbers are like is taken from calibration inputs: their least and largest values.
https://mxnet.apache.org/versions/1.9.1/api/python/docs/tutorials/performance/backend/mkldnn/mkldnn_quantization.html
"""

from __future__ import annotations

import logging
import os
import re
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import mxnet as mx
import numpy as np
from mxnet.contrib.quantization import calib_graph, quantize_graph

from mms_server.config.backend_names import INT8
from mms_server.inference.backends.converted_network import Conversion, ConversionCache

_log = logging.getLogger(__name__)
_STDERR: Final = 2
_BACKEND: Final = "MKLDNN_QUANTIZE"
_VNNI: Final = "avx512_vnni"
"""The oneDNN in MXNet 1.9 uses no other: it is older than AVX-VNNI."""


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


def quantized(
    module: Any,
    rows: Sequence[Sequence[Any]],
    ctx: Any,
    spread: float | None = None,
    kept: ConversionCache | None = None,
) -> Any:
    """Return a Module that computes as ``module`` does, in 8 bits where oneDNN can.

    ``rows`` are the inputs of the network that it is calibrated with, each with a batch of one.
    ``spread`` is by how much more than they show its numbers are allowed for, by default what this
    processor asks for: :func:`spread_of`. What is ``kept`` is taken as it is.

    Raises:
        MXNetError, ValueError, TypeError, KeyError: the network cannot be quantized.
    """
    names, kept = [row.name for row in module.data_shapes], kept or ConversionCache()
    by = spread_of(_flags()) if spread is None else spread
    made_by = {"engine": INT8, "mxnet": mx.__version__, "spread": by}
    before = kept.read(made_by)
    if before is not None:
        return _bound(*_read(before), names, module.data_shapes, ctx)
    parameters = module.get_params()
    with _without_stderr():
        fused = module.symbol.get_backend_symbol(_BACKEND)
        symbol, _arguments, _auxiliary, seen = quantize_graph(
            fused,
            *parameters,
            ctx=ctx,
            calib_mode="naive",
            quantized_dtype="auto",
            quantize_mode="smart",
            logger=_log,
        )
        watched = _bound(fused, parameters, names, module.data_shapes, ctx)
        watched.install_monitor(_Watch(seen))
        for row in rows:
            inputs = [each.astype(np.float32) for each in row]
            watched.forward(mx.io.DataBatch(inputs), is_train=False)
        mx.nd.waitall()
        seen.min_max_dict = {
            name: (by * low, by * high) for name, (low, high) in seen.min_max_dict.items()
        }
        symbol, *parameters = calib_graph(
            symbol, *parameters, seen, calib_mode="naive", quantized_dtype="auto", logger=_log
        )
        symbol = symbol.get_backend_symbol(_BACKEND)
    kept.leave(_written(symbol, parameters, made_by))
    return _bound(symbol, parameters, names, module.data_shapes, ctx)


def _written(symbol: Any, parameters: Any, made_by: Mapping[str, Any]) -> Conversion:
    arguments, auxiliary = parameters
    arrays = {f"arg:{name}": each for name, each in arguments.items()}
    arrays |= {f"aux:{name}": each for name, each in auxiliary.items()}
    with tempfile.NamedTemporaryFile(prefix="mms-int8-") as file:
        mx.nd.save(file.name, arrays)
        data = Path(file.name).read_bytes()
    return Conversion({**made_by, "symbol": symbol.tojson()}, data)


def _read(conversion: Conversion) -> tuple[Any, Any]:
    """Return the symbol and the parameters."""
    symbol = mx.sym.load_json(conversion.about["symbol"])
    parameters: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    for name, array in mx.nd.load_frombuffer(conversion.data).items():
        kind, _colon, name_of_array = name.partition(":")
        parameters[kind == "aux"][name_of_array] = array
    return symbol, parameters


class _Watch:
    """What a Module lets look at the outputs of all layers."""

    def __init__(self, collector: Any) -> None:
        self._collector = collector

    def install(self, executor: Any) -> None:
        executor.set_monitor_callback(self._collector.collect, monitor_all=True)


def _bound(symbol: Any, parameters: Any, names: Sequence[str], shapes: Any, ctx: Any) -> Any:
    made = mx.mod.Module(symbol, data_names=names, label_names=None, context=ctx)
    made.bind(data_shapes=shapes, for_training=False)
    made.set_params(*parameters, allow_missing=True, allow_extra=True)
    return made


def spread_of(flags: Collection[str]) -> float:
    """Return how much room a processor with these flags (of /proc/cpuinfo) needs.

    Without VNNI two products of 8 bits are added up in 16, which they overflow unless one factor
    keeps to half of its range:
    https://oneapi-src.github.io/oneDNN/dev_guide_int8_computations.html
    """
    return 1.0 if _VNNI in flags else 2.0


def _flags(file: Path = Path("/proc/cpuinfo")) -> set[str]:
    """Return the flags of this processor; none if it has none, or they cannot be read."""
    try:
        found = re.search(r"^flags\s*:(.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        return set()
    return set(found[1].split()) if found else set()
