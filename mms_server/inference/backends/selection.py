"""Give a loaded model the engine that its operator chose, if the answers are as they were.

The reference stays the network as it is in the archive. It has computed the golden samples by now;
the other engine has to come as near to it as is stated, on the same inputs, before it may serve.
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
from mms_server.inference.backends.int8 import quantized
from mms_server.inference.backends.onnx_module import OnnxModule
from mms_server.inference.batching.batch_compute import BoundNetwork, network_of
from mms_server.inference.services.model_service import as_list
from mms_server.inference.services.module import bound_shape, random_rows

_log = logging.getLogger(__name__)

_MADE_ROWS: Final = 4
_RUNS: Final = 3
_LEAVE: Final = "leave the setting engine out."

Row = list[Any]
"""A request's inputs of the network, each with a batch of one."""


@dataclass(frozen=True)
class BackendChoice:
    """An engine of :mod:`names`, and how far its outputs may be from the reference's.

    ``tolerance`` is a share of an output's largest number.
    """

    name: str = backend_names.MXNET
    tolerance: float = 0.0


def give(
    model: Any,
    chosen: BackendChoice,
    samples: Sequence[Sample],
    kept: ConversionCache | None = None,
) -> Difference | None:
    """Let ``chosen`` compute a model (a LoadedModel); return how far it is, None if that is MXNet.

    ``kept`` is where its network may lie converted; one that does not do is converted again.

    Raises:
        EngineError: it cannot, or its outputs are too far from the reference's; the model is as it
            was.
    """
    if chosen.name == backend_names.MXNET:
        return None
    service = model.service
    _require_replaceable(model, chosen)
    reference, kept = service.mx_model, kept or ConversionCache()
    rows, what = _rows_of(service, chosen, samples)
    expected = [_outputs(service, row) for row in rows]
    before_s = _seconds(service, rows[0])

    def replaced(kept: ConversionCache) -> tuple[Difference, float]:
        service.mx_model = reference
        service.mx_model = _MAKERS[chosen.name](service, rows, kept)
        given = [_outputs(service, row) for row in rows]
        after_s = _seconds(service, rows[0])
        return compare(expected, given, chosen.tolerance, what), after_s

    try:
        found, after_s = _by_kept(replaced, kept) or replaced(ConversionCache(left=kept.left))
    except Exception as error:
        # Each engine raises kinds of its own, those of ONNX Runtime are derived from no other.
        service.mx_model = reference
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise EngineError(
            f"model {model.name} cannot be computed by {chosen.name}: {reason}", fix=_LEAVE
        ) from error
    if found.fault:
        service.mx_model = reference
        raise EngineError(
            f"model {model.name} on {chosen.name} differs from MXNet by more than "
            f"{chosen.tolerance:g}: {found.fault}",
            fix=f"add golden samples like the model's real inputs, state the difference that "
            f"clients can bear in engine_tolerance, or {_LEAVE}",
        )
    _log.info(
        "%s is computed by %s: a forward takes %.2f ms instead of %.2f; on %d inputs the outputs "
        "are up to %.3g of their largest number apart, %g is allowed",
        model.name,
        chosen.name,
        1000 * after_s,
        1000 * before_s,
        found.inputs,
        found.share,
        chosen.tolerance,
    )
    return found


def _by_kept(
    replaced: Callable[[ConversionCache], tuple[Difference, float]], kept: ConversionCache
) -> tuple[Difference, float] | None:
    """Return what came of the network that is kept, None if there is none, or it does not do."""
    if not kept.there:
        return None
    try:
        found, after_s = replaced(kept)
    except Exception as error:  # noqa: BLE001 - whatever it is, the network is converted again
        _log.warning("the converted network that was kept cannot be used: %s", error)
        return None
    if found.fault:
        _log.warning("the converted network that was kept differs: %s", found.fault)
        return None
    return found, after_s


def _require_replaceable(model: Any, chosen: BackendChoice) -> None:
    """Refuse a service that runs its network otherwise than the base service does."""
    if not isinstance(network_of(model.service), BoundNetwork):
        raise EngineError(
            f"model {model.name} cannot be computed by {chosen.name}: its service "
            f"{type(model.service).__name__} runs its network itself, not as MXNetBaseService "
            "does.",
            fix=_LEAVE,
        )
    free = [row.data_name for row in model.signature.inputs if 0 in row.data_shape[1:]]
    if free:
        raise EngineError(
            f"model {model.name} cannot be computed by {chosen.name}: its signature lets the "
            f"sizes of {', '.join(free)} vary.",
            fix=f"export it with fixed sizes, or {_LEAVE}",
        )


def _rows_of(
    service: Any, chosen: BackendChoice, samples: Sequence[Sample]
) -> tuple[list[Row], str]:
    """Return inputs of the network, and what one is called: of the samples, or else made ones."""
    shapes = [bound_shape(row["data_shape"]) for row in service.signature["inputs"]]
    rows = [as_list(service._preprocess(copy.deepcopy(list(one.inputs)))) for one in samples]  # noqa: SLF001 - the users' interface
    if rows:
        for number, row in enumerate(rows, 1):
            if [getattr(each, "shape", None) for each in row] != shapes:
                raise EngineError(
                    f"golden sample {number} is not one row of the signature's sizes: "
                    f"{chosen.name} cannot be compared on it.",
                    fix=f"make samples of the signature's sizes, or {_LEAVE}",
                )
        return rows, "golden sample"
    if chosen.name == backend_names.INT8:
        raise EngineError(
            "there are no golden samples, which int8 is calibrated with.",
            fix="export the model with --sample, or put samples beside the archive.",
        )
    return random_rows(shapes, _MADE_ROWS, np.float32), "random input"


def _outputs(service: Any, row: Row) -> list[Any]:
    return [each.asnumpy().copy() for each in service._inference(list(row))]  # noqa: SLF001 - the users' interface


def _seconds(service: Any, row: Row) -> float:
    """Return the seconds of the fastest of some forwards."""
    taken = []
    for _ in range(_RUNS):
        began = time.perf_counter()
        _outputs(service, row)
        taken.append(time.perf_counter() - began)
    return min(taken)


def _int8(service: Any, rows: Sequence[Row], kept: ConversionCache) -> Any:
    return quantized(service.mx_model, rows, service.ctx, kept=kept)


def _onnxruntime(service: Any, rows: Sequence[Row], kept: ConversionCache) -> Any:
    del rows
    return OnnxModule.of(service.mx_model, kept)


_MAKERS: Final[dict[str, Callable[[Any, Sequence[Row], ConversionCache], Any]]] = {
    backend_names.INT8: _int8,
    backend_names.ONNXRUNTIME: _onnxruntime,
}
