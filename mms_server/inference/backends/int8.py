"""The backend ``int8``: a network of 8-bit integers, by MXNet's own quantization for oneDNN.

Calibration is naive: the range of each layer is the least and largest value on the golden samples.
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
"""The only kind of VNNI that oneDNN in MXNet 1.9 uses; it is older than AVX-VNNI."""


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Discard stderr: MXNet's C++ code writes lines about each layer, which would fill the log."""
    saved = os.dup(_STDERR)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, _STDERR)
        yield
    finally:
        os.dup2(saved, _STDERR)
        os.close(saved)
        os.close(null)


def quantize(
    module: Any,
    calibration: Sequence[Sequence[Any]],
    ctx: Any,
    range_factor: float | None = None,
    cache: ConversionCache | None = None,
) -> Any:
    """Return a Module that computes what ``module`` does, with 8-bit integers where oneDNN can.

    ``calibration`` are inputs of the network, each with a batch of one. The range of each layer is
    multiplied by ``range_factor``, by default that of this processor
    (:func:`range_factor_of`). A network in ``cache`` is used without conversion.

    Raises:
        MXNetError, ValueError, TypeError, KeyError: the network cannot be quantized.
    """
    names, cache = [desc.name for desc in module.data_shapes], cache or ConversionCache()
    factor = range_factor_of(cpu_flags()) if range_factor is None else range_factor
    converter = {"engine": INT8, "mxnet": mx.__version__, "spread": factor}
    cached = cache.read(converter)
    if cached is not None:
        return _bind(*_deserialize(cached), names, module.data_shapes, ctx)
    parameters = module.get_params()
    with _without_stderr():
        fused = module.symbol.get_backend_symbol(_BACKEND)
        symbol, _arguments, _auxiliary, collector = quantize_graph(
            fused,
            *parameters,
            ctx=ctx,
            calib_mode="naive",
            quantized_dtype="auto",
            quantize_mode="smart",
            logger=_log,
        )
        observed = _bind(fused, parameters, names, module.data_shapes, ctx)
        observed.install_monitor(_RangeMonitor(collector))
        for row in calibration:
            inputs = [array.astype(np.float32) for array in row]
            observed.forward(mx.io.DataBatch(inputs), is_train=False)
        mx.nd.waitall()
        collector.min_max_dict = {
            name: (factor * low, factor * high)
            for name, (low, high) in collector.min_max_dict.items()
        }
        symbol, *parameters = calib_graph(
            symbol, *parameters, collector, calib_mode="naive", quantized_dtype="auto", logger=_log
        )
        symbol = symbol.get_backend_symbol(_BACKEND)
    cache.publish(_serialize(symbol, parameters, converter))
    return _bind(symbol, parameters, names, module.data_shapes, ctx)


def _serialize(symbol: Any, parameters: Any, converter: Mapping[str, Any]) -> Conversion:
    arguments, auxiliary = parameters
    arrays = {f"arg:{name}": array for name, array in arguments.items()}
    arrays |= {f"aux:{name}": array for name, array in auxiliary.items()}
    with tempfile.NamedTemporaryFile(prefix="mms-int8-") as file:
        mx.nd.save(file.name, arrays)
        data = Path(file.name).read_bytes()
    return Conversion({**converter, "symbol": symbol.tojson()}, data)


def _deserialize(conversion: Conversion) -> tuple[Any, Any]:
    """Return the symbol, and the pair of arguments and auxiliary states."""
    symbol = mx.sym.load_json(conversion.header["symbol"])
    parameters: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    for key, array in mx.nd.load_frombuffer(conversion.data).items():
        kind, _colon, name = key.partition(":")
        parameters[kind == "aux"][name] = array
    return symbol, parameters


class _RangeMonitor:
    """A monitor of a Module that passes the outputs of all layers to MXNet's collector."""

    def __init__(self, collector: Any) -> None:
        self._collector = collector

    def install(self, executor: Any) -> None:
        executor.set_monitor_callback(self._collector.collect, monitor_all=True)


def _bind(symbol: Any, parameters: Any, names: Sequence[str], shapes: Any, ctx: Any) -> Any:
    module = mx.mod.Module(symbol, data_names=names, label_names=None, context=ctx)
    module.bind(data_shapes=shapes, for_training=False)
    module.set_params(*parameters, allow_missing=True, allow_extra=True)
    return module


def range_factor_of(flags: Collection[str]) -> float:
    """Return the factor by which ranges must be widened on a processor with these flags.

    Without VNNI, sums of two 8-bit products are 16-bit integers. They overflow unless one factor
    uses only half of its range:
    https://oneapi-src.github.io/oneDNN/dev_guide_int8_computations.html
    """
    return 1.0 if _VNNI in flags else 2.0


def cpu_flags(file: Path = Path("/proc/cpuinfo")) -> set[str]:
    """Return the flags of this processor; empty if there are none, or they cannot be read."""
    try:
        found = re.search(r"^flags\s*:(.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        return set()
    return set(found[1].split()) if found else set()
