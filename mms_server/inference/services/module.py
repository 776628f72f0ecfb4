"""Bind a symbol and its parameters as an MXNet Module for inference.

The rules are those of 0.4 (docs/compatibility.md, 8.3 and 8.4).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np

from mms_server.core.errors import ServiceError

_SYMBOL_SUFFIX = "-symbol.json"
_PARAMS_SUFFIX = ".params"
_SEED = 1
_EXPORT_AGAIN = "export the model again with mxnet-model-export."

_log = logging.getLogger(__name__)


def epoch_of(parameters: str, model_name: str) -> int:
    """Return the epoch in ``<model_name>-<digits>.params``, 0 for any other name."""
    match = re.fullmatch(re.escape(model_name) + r"-(\d{1,9})\.params", parameters)
    return int(match[1]) if match else 0


def bound_shape(shape: list[int]) -> tuple[int, ...]:
    """Return the shape to bind for a shape of the signature: batch 1, and 1 for each variable size.

    A size of 0 in the signature is variable.
    """
    return (1, *(size or 1 for size in shape[1:]))


def random_rows(shapes: Sequence[tuple[int, ...]], count: int, dtype: Any) -> list[list[Any]]:
    """Return ``count`` different rows of random inputs; each row has one array per shape.

    Numbers are below 1, like weights, in every other row, and below 255, like pixels, in the rest.
    Every call returns the same rows.
    """
    rng = np.random.default_rng(_SEED)
    return [
        [mx.nd.array(rng.random(shape) * (1 if row % 2 else 255), dtype=dtype) for shape in shapes]
        for row in range(count)
    ]


def bind_module(
    directory: Path, symbol: str, epoch: int, signature: Mapping[str, Any], ctx: Any
) -> Any:
    """Return a Module that is bound for inference with a batch of one.

    Raises:
        ServiceError: a file is missing or damaged, or the model does not match its signature.
    """
    prefix = symbol.removesuffix(_SYMBOL_SUFFIX)
    parameters = directory / f"{prefix}-{epoch:04d}{_PARAMS_SUFFIX}"
    if not parameters.is_file():
        raise ServiceError(
            f"the model's parameters {parameters.name} are not in the archive.", fix=_EXPORT_AGAIN
        )
    shapes = [(spec["data_name"], bound_shape(spec["data_shape"])) for spec in signature["inputs"]]
    try:
        return _bind(directory / symbol, parameters, shapes, ctx)
    except (mx.base.MXNetError, ValueError, RuntimeError, KeyError, TypeError) as error:
        reason = str(error).strip().splitlines() or ["unknown"]
        raise ServiceError(
            f"the model cannot be bound to its signature: {reason[-1]}.",
            fix="check data_name and data_shape in signature.json against the symbol's inputs.",
        ) from error


def _bind(symbol_file: Path, parameters: Path, shapes: list[tuple[str, Any]], ctx: Any) -> Any:
    symbol = mx.sym.load(str(symbol_file))
    arguments, auxiliary = _split(mx.nd.load(str(parameters)))
    names = [name for name, _ in shapes]
    module = mx.mod.Module(symbol, data_names=names, label_names=None, context=ctx)
    module.bind(data_shapes=shapes, for_training=False)
    module.set_params(arguments, auxiliary, allow_missing=True, allow_extra=True)
    needed = set(symbol.list_arguments()) - set(names)
    missing = sorted(name for name in needed - set(arguments) if not name.endswith("_label"))
    if missing:
        _log.warning("%s has no values for %s", parameters.name, ", ".join(missing))
    return module


def _split(saved: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return arguments and auxiliary states by name; keys of the file start with arg: or aux:."""
    if not isinstance(saved, Mapping):
        raise TypeError("the parameters have no names")
    parts: dict[str, dict[str, Any]] = {"arg": {}, "aux": {}}
    for key, value in saved.items():
        kind, _, name = key.partition(":")
        if kind in parts:
            parts[kind][name] = value
    return parts["arg"], parts["aux"]
