"""Convert an ONNX model into symbol and parameters, by the engine's importer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mxnet as mx
import onnx
from mxnet.contrib.onnx.onnx2mx.import_onnx import GraphProto

from mms_server.core.errors import ArchiveError

_MAX_REASON = 300


def convert(source: Path, symbol_file: Path, parameters_file: Path) -> list[str]:
    """Write symbol and parameters of the model in ``source``; return the names of its inputs.

    The same file gives the same bytes.

    Raises:
        ArchiveError: the model cannot be converted.
    """
    try:
        model = onnx.load_model(str(source))
        opset = max(row.version for row in model.opset_import)
        inputs = _inputs(model.graph, onnx)
        # Nodes without a name are numbered by a counter: it has to start anew.
        with mx.name.NameManager():
            symbol, arguments, auxiliary = GraphProto().from_onnx(model.graph, opset)
        saved = {f"arg:{name}": arguments[name] for name in sorted(arguments)}
        saved.update({f"aux:{name}": auxiliary[name] for name in sorted(auxiliary)})
        symbol.save(str(symbol_file))
        mx.nd.save(str(parameters_file), saved)
    except Exception as error:
        reason = (str(error).strip().splitlines() or ["no reason given"])[0][:_MAX_REASON]
        raise ArchiveError(
            source,
            f"MXNet cannot convert this ONNX model: {type(error).__name__}: {reason}.",
            fix="save it with operators and an opset that MXNet 1.9 imports (opset 7 to 9 are the "
            "best supported), or export it from MXNet.",
        ) from error
    return inputs


def _inputs(graph: Any, onnx: Any) -> list[str]:
    """Return the names of the inputs that are no weights, and list all weights as inputs.

    The importer wants the latter; models since ONNX 1.4 need not do so.
    """
    weights = {row.name: row for row in graph.initializer}
    listed = [row.name for row in graph.input]
    for name, row in weights.items():
        if name not in listed:
            graph.input.append(onnx.helper.make_tensor_value_info(name, row.data_type, row.dims))
    return [name for name in listed if name not in weights]
