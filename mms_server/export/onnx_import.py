"""Convert an ONNX model to an MXNet symbol and parameters, with MXNet's importer."""

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

    The same ONNX file always gives the same bytes.

    Raises:
        ArchiveError: the model cannot be converted.
    """
    try:
        model = onnx.load_model(str(source))
        opset = max(imported.version for imported in model.opset_import)
        inputs = _prepare_inputs(model.graph, onnx)
        # MXNet numbers unnamed nodes with a counter, which must start at 0 for equal bytes.
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


def _prepare_inputs(graph: Any, onnx: Any) -> list[str]:
    """Add all weights to the graph's inputs; return the names of the inputs that are not weights.

    MXNet's importer requires weights among the inputs. Models since ONNX 1.4 may omit them.
    """
    weights = {tensor.name: tensor for tensor in graph.initializer}
    listed = [value.name for value in graph.input]
    for name, tensor in weights.items():
        if name not in listed:
            graph.input.append(
                onnx.helper.make_tensor_value_info(name, tensor.data_type, tensor.dims)
            )
    return [name for name in listed if name not in weights]
