"""Convert a bound network to ONNX, by MXNet's own exporter, in a process that is forked for it.

What the conversion needs, copies of all parameters, is gone with the process: the workers are
forked from the one that asks for it. And whatever the exporter does, it can be ended in time.
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

LIMIT_S: Final = 300.0
"""A conversion takes about a second for each 50 MB of parameters."""

_END_S: Final = 10.0
"""Time for a process that was killed to be gone."""


class ConversionError(Exception):
    """A network cannot be converted; the text is one sentence that says why."""


@dataclass(frozen=True)
class _Network:
    """What is converted; ``inputs`` are the names and shapes, in the order of the symbol."""

    symbol: Any
    parameters: Mapping[str, Any]
    inputs: Sequence[tuple[str, tuple[int, ...]]]


def converted(module: Any, limit_s: float = LIMIT_S) -> bytes:
    """Return the ONNX model of a Module, which takes any number of rows.

    Raises:
        ConversionError: it has operators that cannot be converted, or the conversion failed.
    """
    missing = unsupported(module.symbol)
    if missing:
        raise ConversionError(f"ONNX has no counterpart of {', '.join(missing)}.")
    network = _network_of(module)
    with tempfile.TemporaryDirectory(prefix="mms-onnx-") as name:
        model, fault = Path(name) / "model.onnx", Path(name) / "fault"
        context = multiprocessing.get_context("fork")
        process = context.Process(target=_write, args=(network, model, fault), daemon=True)
        process.start()
        process.join(limit_s)
        if process.exitcode is None:
            process.kill()
            process.join(_END_S)
            raise ConversionError(f"the conversion took longer than {limit_s:g} s.")
        if not model.exists():
            told = fault.read_text("utf-8") if fault.exists() else ""
            raise ConversionError(told or f"the converter ended with code {process.exitcode}.")
        return model.read_bytes()


def unsupported(symbol: Any) -> list[str]:
    """Return the operators of a network that MXNet's exporter does not know, by name."""
    known = {name for table in MXNetGraph.registry_.values() for name in table}
    used = {node["op"] for node in json.loads(symbol.tojson())["nodes"]}
    return sorted(used - known - {"null"})


def _network_of(module: Any) -> _Network:
    arguments, auxiliary = module.get_params()
    shapes = {row.name: tuple(row.shape) for row in module.data_shapes}
    named = module.symbol.list_arguments()
    sizes = dict(zip(named, module.symbol.infer_shape(**shapes)[0], strict=True))
    parameters = {**arguments, **auxiliary}
    for name in set(named) - set(shapes) - set(parameters):
        # A label that nobody gives: the exporter loses count where it is no parameter.
        parameters[name] = mx.nd.zeros(sizes[name])
    inputs = [(name, shapes[name]) for name in named if name in shapes]
    return _Network(module.symbol, parameters, inputs)


def _write(network: _Network, target: Path, fault: Path) -> None:
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
        _strip(part)
        part.rename(target)
    except Exception as error:  # noqa: BLE001 - whatever it is, the other process is to tell it
        text = (str(error).strip().splitlines() or [""])[-1]
        fault.write_text(f"{type(error).__name__}: {text}", encoding="utf-8")


def _strip(file: Path) -> None:
    """Let parameters be constants: named as inputs too, ONNX Runtime would not fold them."""
    model = onnx.load(str(file))
    constants = {each.name for each in model.graph.initializer}
    inputs = [each for each in model.graph.input if each.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    onnx.save(model, str(file))
