"""Make a loaded model ready to serve: one forward before the workers are forked.

Workers share the memory that the master has touched, and a model that cannot compute is found out
before anything is told that it is ready.
"""

from __future__ import annotations

import gc
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mxnet as mx
import numpy as np

from mms_server.deaths.guard import Guard, NoGuard
from mms_server.engine import Engine
from mms_server.errors import ServiceError
from mms_server.servable import Observer, Servable, Silent
from mms_server.service_loader import LoadedModel
from mms_server.services.gluon_vision_service import GluonVisionService
from mms_server.services.module import bound_shape


@dataclass(frozen=True)
class Limits:
    """What one request may cost."""

    predict_timeout_s: float
    max_body_bytes: int
    max_pixels: int


def make_ready(
    models: Sequence[LoadedModel],
    limits: Limits,
    observer: Observer | None = None,
    guard: Guard | None = None,
    engine: Engine | None = None,
) -> dict[str, Servable]:
    """Return the models by endpoint name, each run once, all on one engine.

    Raises:
        ServiceError: a model cannot compute.
    """
    engine = engine or Engine(limits.predict_timeout_s, replace_this_process)
    seconds: dict[str, float] = {}
    for model in models:
        started = time.monotonic()
        warm_up(model)
        seconds[model.name] = time.monotonic() - started
    # Objects made so far live as long as the process: keeping the collector off them keeps their
    # memory shared with the workers.
    gc.collect()
    gc.freeze()
    return {
        model.name: Servable(
            model,
            engine,
            limits.max_body_bytes,
            limits.max_pixels,
            observer or Silent(),
            guard=guard or NoGuard(),
            warm_up_s=seconds[model.name],
        )
        for model in models
    }


def warm_up(model: LoadedModel) -> None:
    """Run one forward on zeros, if it is known what the model takes.

    That is so of a bound Module, and of a vision service's network; a first forward on anything
    else could give the network's parameters wrong shapes.

    Raises:
        ServiceError: the forward fails.
    """
    if model.signature is None:
        return
    shapes = [bound_shape(list(row.data_shape)) for row in model.signature.inputs]
    try:
        outputs = _outputs_for([mx.nd.zeros(shape) for shape in shapes], model.service)
        numbers = [output.asnumpy() for output in outputs]
    except (mx.base.MXNetError, ValueError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise ServiceError(
            f"model {model.name} fails in a first run on zeros: {reason}.",
            fix="check the network and the shapes in signature.json.",
        ) from error
    # Zeros alone may give NaN in a sound network; with such parameters, everything does.
    if any(np.isnan(row).any() for row in numbers) and _nan_parameters(model.service):
        raise ServiceError(
            f"model {model.name} has parameters that are no numbers (NaN).",
            fix="train it again, or export an earlier epoch.",
        )


def _nan_parameters(service: Any) -> bool:
    module = getattr(service, "mx_model", None)
    if not isinstance(module, mx.mod.Module):
        return False
    rows = [row for group in module.get_params() for row in group.values()]
    return any(bool(np.isnan(row.asnumpy()).any()) for row in rows)


def _outputs_for(inputs: list[Any], service: Any) -> list[Any]:
    module = getattr(service, "mx_model", None)
    if isinstance(module, mx.mod.Module):
        module.forward(mx.io.DataBatch(inputs), is_train=False)
        outputs: list[Any] = module.get_outputs()
        return outputs
    # With this preprocessing a request's arrays are the same as these zeros, but for the values.
    preprocess = getattr(type(service), "_preprocess", None)
    if preprocess is GluonVisionService._preprocess:  # noqa: SLF001 - the users' interface
        found = service._inference(inputs)  # noqa: SLF001 - likewise
        return list(found) if isinstance(found, list | tuple) else [found]
    return []


def replace_this_process() -> None:
    """End this worker after its requests; its master starts another in milliseconds."""
    os.kill(os.getpid(), signal.SIGTERM)
