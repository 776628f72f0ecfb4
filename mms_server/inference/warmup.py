"""Make a loaded model ready to serve: one forward, and its golden samples, before the fork.

Workers share the memory that the master has touched, and a model that cannot compute, or computes
something else, is found out before anything is told that it is ready.
"""

from __future__ import annotations

import gc
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import mxnet as mx
import numpy as np

from mms_server.archives import golden_samples
from mms_server.archives.golden_samples import Sample
from mms_server.core.errors import GoldenError, WarmUpError
from mms_server.crashes.quarantine import NoQuarantine, Quarantine
from mms_server.host.worker_memory import trim_heap
from mms_server.inference.backends import selection
from mms_server.inference.backends.converted_network import ConversionCache
from mms_server.inference.backends.onnx_module import OnnxModule
from mms_server.inference.backends.selection import BackendChoice
from mms_server.inference.batching.batch_benchmark import choose_batch_computer
from mms_server.inference.batching.batch_compute import BatchComputer
from mms_server.inference.batching.batch_decision import BatchDecision
from mms_server.inference.batching.batch_delay import Gathered, no_delay
from mms_server.inference.batching.cpu_clock import Clock
from mms_server.inference.executor import Engine
from mms_server.inference.model_loader import LoadedModel
from mms_server.inference.servable import NullObserver, Observer, Queued, Servable, not_told
from mms_server.inference.services.gluon_vision_service import GluonVisionService
from mms_server.inference.services.module import bound_shape
from mms_server.overload.deadline import ServiceRate


@dataclass(frozen=True)
class Limits:
    """What one request may cost, and how many workers share the queue.

    ``request_timeouts_s`` is by model how long a client waits that does not say; 0 is for ever.
    """

    predict_timeout_s: float
    max_body_bytes: int
    max_pixels: int
    request_timeouts_s: Mapping[str, float] = field(default_factory=dict)
    workers: int = 1


@dataclass(frozen=True)
class Batches:
    """How requests are computed together: up to ``most``, with costs counted by ``clock``.

    ``in_hand`` says how many requests the worker has, ``wait_for_batch`` returns when it takes no more
    for now; ``told`` gets the model and what was found.
    Without a clock it is :func:`mms_server.inference.batching.cpu_clock.cost_clock`.
    """

    most: int
    in_hand: Callable[[], int]
    told: Callable[[str, BatchDecision], None]
    clock: Clock | None = None
    wait_for_batch: Gathered = no_delay


def make_ready(
    models: Sequence[LoadedModel],
    limits: Limits,
    observer: Observer | None = None,
    samples: Mapping[str, Sequence[Sample]] | None = None,
    *,
    quarantine: Quarantine | None = None,
    engine: Engine | None = None,
    batches: Batches | None = None,
    chosen: BackendChoice | None = None,
    kept: ConversionCache | None = None,
    queued: Queued | None = None,
) -> dict[str, Servable]:
    """Return the models by endpoint name, each run once, all on one engine.

    Without ``batches`` requests are computed one at a time. ``chosen`` is what computes their
    networks, if not MXNet, ``kept`` where one may lie converted. ``queued`` is told how long each
    request waited.

    ``samples`` are golden samples by endpoint name; they run on the model itself, in this thread:
    the engine's own thread would not survive the fork.

    Raises:
        WarmUpError: a model cannot compute.
        GoldenError: a model does not answer a sample as expected.
        EngineError: a model cannot be computed by ``chosen``, or not as MXNet does.
    """
    engine = engine or Engine(limits.predict_timeout_s, replace_this_process)
    seconds: dict[str, float] = {}
    joints: dict[str, BatchComputer | None] = {}
    for model in models:
        expected = (samples or {}).get(model.name, ())
        # Zeros may be no input that a model can take; if so, its samples say what is.
        seconds[model.name] = _timed_warm_up(model, finite=not expected)
        try:
            _check(model, expected)
        except GoldenError as error:
            if len(models) == 1:
                raise
            difference = f"model {model.name}: {error.difference}"
            raise GoldenError(error.number, difference, fix=error.fix) from error
        if chosen and selection.switch_backend(model, chosen, expected, kept):
            seconds[model.name] = _timed_warm_up(model, finite=False)
        joints[model.name] = _batch_computer(model, batches, expected) if batches else None
    # Objects made so far live as long as the process: keeping the collector off them keeps their
    # memory shared with the workers.
    gc.collect()
    trim_heap()
    gc.freeze()
    return {
        model.name: Servable(
            model,
            engine,
            limits.max_body_bytes,
            limits.max_pixels,
            observer or NullObserver(),
            quarantine=quarantine or NoQuarantine(),
            warm_up_s=seconds[model.name],
            request_timeout_s=limits.request_timeouts_s.get(model.name, 0.0),
            service_rate=ServiceRate(limits.workers),
            batch_computer=joints[model.name],
            in_hand=batches.in_hand if batches else int,
            wait_for_batch=batches.wait_for_batch if batches else no_delay,
            queued=queued or not_told,
        )
        for model in models
    }


def _batch_computer(
    model: LoadedModel, batches: Batches, samples: Sequence[Sample]
) -> BatchComputer | None:
    batch_computer, verdict = choose_batch_computer(model, batches.most, samples, batches.clock)
    batches.told(model.name, verdict)
    return batch_computer


def _check(model: LoadedModel, samples: Sequence[Sample]) -> None:
    if samples and model.signature is None:
        cause = "a handler of 1.x reads whole requests, which a sample cannot hold."
        raise GoldenError(1, cause, fix="remove the samples.")
    golden_samples.check(model, samples)


def _timed_warm_up(model: LoadedModel, *, finite: bool) -> float:
    """Return the seconds that :func:`warm_up` took."""
    started = time.monotonic()
    warm_up(model, finite=finite)
    return time.monotonic() - started


def warm_up(model: LoadedModel, *, finite: bool = True) -> None:
    """Run one forward on zeros, if it is known what the model takes.

    That is so of a bound Module, and of a vision service's network; a first forward on anything
    else could give the network's parameters wrong shapes.

    Raises:
        WarmUpError: the forward fails; with ``finite``, also if an output has a NaN or an infinite
            number in it.
    """
    if model.signature is None:
        return
    shapes = [bound_shape(list(row.data_shape)) for row in model.signature.inputs]
    try:
        arrays = [
            output.asnumpy()
            for output in _outputs_for([mx.nd.zeros(shape) for shape in shapes], model.service)
        ]
    except (mx.base.MXNetError, ValueError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise WarmUpError(
            f"model {model.name} fails in a first run on zeros: {reason}.",
            fix="check the network and the shapes in signature.json.",
        ) from error
    bad = [n for n, array in enumerate(arrays) if not np.isfinite(array).all()]
    if finite and bad:
        raise WarmUpError(
            f"model {model.name}: in a first run on zeros, output {bad[0]} has a NaN or an "
            "infinite number in it.",
            fix="check the parameters; if the model cannot take zeros, add golden samples, which "
            "are asked instead.",
        )


def _outputs_for(inputs: list[Any], service: Any) -> list[Any]:
    module = getattr(service, "mx_model", None)
    if isinstance(module, mx.mod.Module | OnnxModule):
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
