"""Switch a loaded model to the selected backend, if its outputs are close to the reference's.

The reference is MXNet on the network of the archive, which has already answered the golden samples.
The outputs of the backend must be within the tolerance of the reference's on the same inputs.
"""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from mms_server.archives.golden_samples import Sample
from mms_server.config import backend_names
from mms_server.core.errors import EngineError
from mms_server.inference.backends.comparison import Difference, compare
from mms_server.inference.backends.converted_network import ConversionCache
from mms_server.inference.backends.int8 import quantize
from mms_server.inference.backends.onnx_module import OnnxModule
from mms_server.inference.batching.batch_compute import BoundNetwork, network_of
from mms_server.inference.services.model_service import as_list
from mms_server.inference.services.module import bound_shape, random_rows

_log = logging.getLogger(__name__)

_RANDOM_ROWS: Final = 4
_RUNS: Final = 3
_REMOVE_SETTING: Final = "leave the setting engine out."

Row = list[Any]
"""The network's inputs of one request, each with a batch of one."""


@dataclass(frozen=True)
class BackendChoice:
    """A backend of :mod:`mms_server.config.backend_names` and the tolerance of its outputs.

    ``tolerance`` is a share of the largest number of an output.
    """

    name: str = backend_names.MXNET
    tolerance: float = 0.0


def switch_backend(
    model: Any,
    choice: BackendChoice,
    samples: Sequence[Sample],
    cache: ConversionCache | None = None,
) -> Difference | None:
    """Let a backend compute a model (a LoadedModel); return the difference, None for MXNet.

    A cached network that cannot be used, or differs too much, is converted again.

    Raises:
        EngineError: the backend cannot compute the model, or its outputs are over the tolerance.
            The model is unchanged then.
    """
    if choice.name == backend_names.MXNET:
        return None
    service = model.service
    _require_replaceable(model, choice)
    reference, cache = service.mx_model, cache or ConversionCache()
    rows, what = _select_inputs(service, choice, samples)
    expected = [_run_network(service, row) for row in rows]
    before_s = _time_forward(service, rows[0])

    def convert(cache: ConversionCache) -> tuple[Difference, float]:
        service.mx_model = reference
        service.mx_model = _CONVERTERS[choice.name](service, rows, cache)
        outputs = [_run_network(service, row) for row in rows]
        after_s = _time_forward(service, rows[0])
        return compare(expected, outputs, choice.tolerance, what), after_s

    try:
        converted = _try_cached(convert, cache) or convert(ConversionCache(outbox=cache.outbox))
    except Exception as error:
        # Backends raise errors of their own; those of ONNX Runtime have no other base class.
        service.mx_model = reference
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise EngineError(
            f"model {model.name} cannot be computed by {choice.name}: {reason}",
            fix=_REMOVE_SETTING,
        ) from error
    difference, after_s = converted
    if difference.fault:
        service.mx_model = reference
        raise EngineError(
            f"model {model.name} on {choice.name} differs from MXNet by more than "
            f"{choice.tolerance:g}: {difference.fault}",
            fix=f"add golden samples like the model's real inputs, set engine_tolerance to the "
            f"difference that clients accept, or {_REMOVE_SETTING}",
        )
    _log.info(
        "%s is computed by %s: a forward takes %.2f ms instead of %.2f; on %d inputs the outputs "
        "are up to %.3g of their largest number apart, %g is allowed",
        model.name,
        choice.name,
        1000 * after_s,
        1000 * before_s,
        difference.inputs,
        difference.share,
        choice.tolerance,
    )
    return difference


def _try_cached(
    convert: Callable[[ConversionCache], tuple[Difference, float]], cache: ConversionCache
) -> tuple[Difference, float] | None:
    """Return the result with the cached network; None if there is none, or it cannot be used."""
    if not cache.has_entry:
        return None
    try:
        difference, after_s = convert(cache)
    except Exception as error:  # noqa: BLE001 - the network is converted again after any error
        _log.warning("the converted network in the store cannot be used: %s", error)
        return None
    if difference.fault:
        _log.warning("the converted network in the store differs: %s", difference.fault)
        return None
    return difference, after_s


def _require_replaceable(model: Any, choice: BackendChoice) -> None:
    """Refuse a service that does not run its network as the base service does."""
    if not isinstance(network_of(model.service), BoundNetwork):
        raise EngineError(
            f"model {model.name} cannot be computed by {choice.name}: its service "
            f"{type(model.service).__name__} runs its network itself, not as MXNetBaseService "
            "does.",
            fix=_REMOVE_SETTING,
        )
    variable = [spec.data_name for spec in model.signature.inputs if 0 in spec.data_shape[1:]]
    if variable:
        raise EngineError(
            f"model {model.name} cannot be computed by {choice.name}: its signature lets the "
            f"sizes of {', '.join(variable)} vary.",
            fix=f"export it with fixed sizes, or {_REMOVE_SETTING}",
        )


def _select_inputs(
    service: Any, choice: BackendChoice, samples: Sequence[Sample]
) -> tuple[list[Row], str]:
    """Return inputs to compare on, and the name of one: golden samples, or else random inputs."""
    shapes = [bound_shape(spec["data_shape"]) for spec in service.signature["inputs"]]
    rows = [as_list(service._preprocess(copy.deepcopy(list(one.inputs)))) for one in samples]  # noqa: SLF001 - the users' interface
    if rows:
        for number, row in enumerate(rows, 1):
            if [getattr(array, "shape", None) for array in row] != shapes:
                raise EngineError(
                    f"golden sample {number} is not one row of the signature's sizes: "
                    f"{choice.name} cannot be compared on it.",
                    fix=f"make samples of the signature's sizes, or {_REMOVE_SETTING}",
                )
        return rows, "golden sample"
    if choice.name == backend_names.INT8:
        raise EngineError(
            "there are no golden samples, which int8 is calibrated with.",
            fix="export the model with --sample, or put samples beside the archive.",
        )
    return random_rows(shapes, _RANDOM_ROWS, np.float32), "random input"


def _run_network(service: Any, row: Row) -> list[Any]:
    """Return copies of the outputs as numpy arrays: the next forward overwrites the originals."""
    return [array.asnumpy().copy() for array in service._inference(list(row))]  # noqa: SLF001 - the users' interface


def _time_forward(service: Any, row: Row) -> float:
    """Return the seconds of the fastest of several forwards."""
    seconds = []
    for _ in range(_RUNS):
        began = time.perf_counter()
        _run_network(service, row)
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def _to_int8(service: Any, rows: Sequence[Row], cache: ConversionCache) -> Any:
    return quantize(service.mx_model, rows, service.ctx, cache=cache)


def _to_onnxruntime(service: Any, rows: Sequence[Row], cache: ConversionCache) -> Any:
    del rows
    return OnnxModule.from_module(service.mx_model, cache)


_CONVERTERS: Final[dict[str, Callable[[Any, Sequence[Row], ConversionCache], Any]]] = {
    backend_names.INT8: _to_int8,
    backend_names.ONNXRUNTIME: _to_onnxruntime,
}
