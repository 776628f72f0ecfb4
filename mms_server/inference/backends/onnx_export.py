"""Convert a bound network to ONNX with MXNet's own exporter, in a forked child process.

The conversion copies all parameters. That memory ends with the child; workers, which are forked
from the calling process, do not inherit it. The child can also be killed if it takes too long.
"""

from __future__ import annotations

import json
import multiprocessing
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import mxnet as mx
import numpy as np
import onnx
from mxnet.onnx.mx2onnx._export_onnx import MXNetGraph

TIMEOUT_S: Final = 300.0
"""A conversion takes about a second for each 50 MB of parameters."""

_KILL_TIMEOUT_S: Final = 10.0
"""How long to wait for the end of a killed process."""


class ConversionError(Exception):
    """A network cannot be converted; the text is one sentence with the reason."""


@dataclass(frozen=True)
class _Network:
    """A network to convert; ``inputs`` are names and shapes in the order of the symbol."""

    symbol: Any
    parameters: Mapping[str, Any]
    inputs: Sequence[tuple[str, tuple[int, ...]]]


def convert(module: Any, timeout_s: float = TIMEOUT_S) -> bytes:
    """Return a Module as an ONNX model that takes any batch size.

    Raises:
        ConversionError: the network has operators that cannot be converted, or the conversion
            failed or took longer than ``timeout_s``.
    """
    missing = unsupported_operators(module.symbol)
    if missing:
        raise ConversionError(f"ONNX has no counterpart of {', '.join(missing)}.")
    network = _network_of(module)
    with tempfile.TemporaryDirectory(prefix="mms-onnx-") as name:
        model, reason = Path(name) / "model.onnx", Path(name) / "reason"
        context = multiprocessing.get_context("fork")
        process = context.Process(target=_run_exporter, args=(network, model, reason), daemon=True)
        process.start()
        process.join(timeout_s)
        if process.exitcode is None:
            process.kill()
            process.join(_KILL_TIMEOUT_S)
            raise ConversionError(f"the conversion took longer than {timeout_s:g} s.")
        if not model.exists():
            text = reason.read_text("utf-8") if reason.exists() else ""
            raise ConversionError(text or f"the converter ended with code {process.exitcode}.")
        return model.read_bytes()


def unsupported_operators(symbol: Any) -> list[str]:
    """Return the names of a network's operators that MXNet's exporter cannot convert."""
    known = {name for table in MXNetGraph.registry_.values() for name in table}
    used = {node["op"] for node in json.loads(symbol.tojson())["nodes"]}
    return sorted(used - known - {"null"})


def _network_of(module: Any) -> _Network:
    arguments, auxiliary = module.get_params()
    shapes = {desc.name: tuple(desc.shape) for desc in module.data_shapes}
    names = module.symbol.list_arguments()
    sizes = dict(zip(names, module.symbol.infer_shape(**shapes)[0], strict=True))
    parameters = {**arguments, **auxiliary}
    for name in set(names) - set(shapes) - set(parameters):
        # A label that inference does not use. The exporter counts arguments wrongly without it.
        parameters[name] = mx.nd.zeros(sizes[name])
    inputs = [(name, shapes[name]) for name in names if name in shapes]
    return _Network(module.symbol, parameters, inputs)


def _run_exporter(network: _Network, target: Path, reason: Path) -> None:
    """Write the ONNX model to ``target``, or the text of an error to ``reason``; in the child."""
    part = target.with_suffix(".part")
    try:
        mx.onnx.export_model(
            network.symbol,
            dict(network.parameters),
            in_shapes=[shape for _, shape in network.inputs],
            in_types=[np.float32] * len(network.inputs),
            onnx_file_path=str(part),
            dynamic=True,
            dynamic_input_shapes=[("batch", *shape[1:]) for _, shape in network.inputs],
        )
        _remove_parameter_inputs(part)
        part.rename(target)
    except Exception as error:  # noqa: BLE001 - the parent process raises it as a ConversionError
        text = (str(error).strip().splitlines() or [""])[-1]
        reason.write_text(f"{type(error).__name__}: {text}", encoding="utf-8")


def _remove_parameter_inputs(file: Path) -> None:
    """Remove parameters from the inputs: ONNX Runtime folds only constants that are no inputs."""
    model = onnx.load(str(file))
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    onnx.save(model, str(file))
