"""Warm-up: make loaded models ready to serve, before the workers are forked.

Each model runs one forward on zeros and its golden samples. So a model that cannot compute, or
answers differently, never becomes ready. And workers share the memory that the master has used.
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
from mms_server.config.request_limits import RequestLimits
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
from mms_server.inference.batching.batch_delay import WaitForBatch, no_delay
from mms_server.inference.batching.cpu_clock import Clock
from mms_server.inference.executor import Engine
from mms_server.inference.model_loader import LoadedModel
from mms_server.inference.servable import (
    NullObserver,
    Observer,
    RecordQueueDelay,
    Servable,
    ignore_queue_delay,
)
from mms_server.inference.services.gluon_vision_service import GluonVisionService
from mms_server.inference.services.module import bound_shape
from mms_server.overload.deadline import ServiceRate


@dataclass(frozen=True)
class Limits:
    """Limits of requests, and the number of workers that share the queue.

    ``request`` limits the content of each request. ``request_timeouts_s`` are the time limits, by
    model, of requests that do not have one; 0 is no limit.
    """

    predict_timeout_s: float
    request: RequestLimits = field(default_factory=RequestLimits)
    request_timeouts_s: Mapping[str, float] = field(default_factory=dict)
    workers: int = 1


@dataclass(frozen=True)
class BatchingOptions:
    """How requests are computed in batches: at most ``max_batch``.

    ``in_flight_count`` returns how many requests the worker has accepted and not answered.
    ``record`` gets the model and the decision. ``clock`` measures the cost of forwards; the default
    is :func:`mms_server.inference.batching.cpu_clock.cost_clock`. ``wait_for_batch`` returns when
    the worker accepts no more requests for now.
    """

    max_batch: int
    in_flight_count: Callable[[], int]
    record: Callable[[str, BatchDecision], None]
    clock: Clock | None = None
    wait_for_batch: WaitForBatch = no_delay


def make_ready(
    models: Sequence[LoadedModel],
    limits: Limits,
    observer: Observer | None = None,
    samples: Mapping[str, Sequence[Sample]] | None = None,
    *,
    quarantine: Quarantine | None = None,
    engine: Engine | None = None,
    batching: BatchingOptions | None = None,
    backend: BackendChoice | None = None,
    conversions: ConversionCache | None = None,
    record_queue_delay: RecordQueueDelay | None = None,
) -> dict[str, Servable]:
    """Return the models as servables by endpoint name, warmed up, all on one engine.

    Without ``batching`` requests are computed one at a time. ``backend`` computes the networks; the
    default is MXNet. ``conversions`` is the cache of converted networks.

    ``samples`` are golden samples by endpoint name. They run in this thread, because the engine's
    own thread would not survive the fork.

    Raises:
        WarmUpError: a model cannot compute.
        GoldenError: a model answers a sample differently.
        EngineError: ``backend`` cannot compute a model, or its outputs differ too much.
    """
    engine = engine or Engine(limits.predict_timeout_s, replace_this_process)
    seconds: dict[str, float] = {}
    batch_computers: dict[str, BatchComputer | None] = {}
    for model in models:
        model_samples = (samples or {}).get(model.name, ())
        # Zeros may not be a valid input of a model: with samples, NaN is no error here.
        seconds[model.name] = _time_warm_up(model, finite=not model_samples)
        try:
            _check_samples(model, model_samples)
        except GoldenError as error:
            if len(models) == 1:
                raise
            difference = f"model {model.name}: {error.difference}"
            raise GoldenError(error.number, difference, fix=error.fix) from error
        if backend and selection.switch_backend(model, backend, model_samples, conversions):
            seconds[model.name] = _time_warm_up(model, finite=False)
        batch_computers[model.name] = (
            _choose_batch_computer(model, batching, model_samples) if batching else None
        )
    # All objects so far live as long as the process. Frozen, they are not touched by the garbage
    # collector, so their memory stays shared with the workers.
    gc.collect()
    trim_heap()
    gc.freeze()
    return {
        model.name: Servable(
            model,
            engine,
            limits.request,
            observer or NullObserver(),
            quarantine=quarantine or NoQuarantine(),
            warm_up_s=seconds[model.name],
            request_timeout_s=limits.request_timeouts_s.get(model.name, 0.0),
            service_rate=ServiceRate(limits.workers),
            batch_computer=batch_computers[model.name],
            in_flight_count=batching.in_flight_count if batching else int,
            wait_for_batch=batching.wait_for_batch if batching else no_delay,
            record_queue_delay=record_queue_delay or ignore_queue_delay,
        )
        for model in models
    }


def _choose_batch_computer(
    model: LoadedModel, options: BatchingOptions, samples: Sequence[Sample]
) -> BatchComputer | None:
    batch_computer, decision = choose_batch_computer(
        model, options.max_batch, samples, options.clock
    )
    options.record(model.name, decision)
    return batch_computer


def _check_samples(model: LoadedModel, samples: Sequence[Sample]) -> None:
    if samples and model.signature is None:
        cause = "a handler of 1.x reads whole requests, which a sample cannot hold."
        raise GoldenError(1, cause, fix="remove the samples.")
    golden_samples.check(model, samples)


def _time_warm_up(model: LoadedModel, *, finite: bool) -> float:
    """Return the seconds that :func:`warm_up` took."""
    started = time.monotonic()
    warm_up(model, finite=finite)
    return time.monotonic() - started


def warm_up(model: LoadedModel, *, finite: bool = True) -> None:
    """Run one forward on zeros, if the shapes and types of the network's inputs are known.

    They are known for a Module, and for the network of a Gluon vision service. For other networks a
    first forward on zeros could give parameters wrong shapes.

    Raises:
        WarmUpError: the forward fails; with ``finite``, also if an output has a NaN or an infinite
            number in it.
    """
    if model.signature is None:
        return
    shapes = [bound_shape(list(spec.data_shape)) for spec in model.signature.inputs]
    try:
        arrays = [
            output.asnumpy()
            for output in _run_network(model.service, [mx.nd.zeros(shape) for shape in shapes])
        ]
    except (mx.base.MXNetError, ValueError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise WarmUpError(
            f"model {model.name} fails in a first run on zeros: {reason}.",
            fix="check the network and the shapes in signature.json.",
        ) from error
    bad = [index for index, array in enumerate(arrays) if not np.isfinite(array).all()]
    if finite and bad:
        raise WarmUpError(
            f"model {model.name}: in a first run on zeros, output {bad[0]} has a NaN or an "
            "infinite number in it.",
            fix="check the parameters; if zeros are no valid input of the model, add golden "
            "samples, which are checked instead.",
        )


def _run_network(service: Any, inputs: list[Any]) -> list[Any]:
    """Return the outputs of a service's network; none if its inputs are not known."""
    module = getattr(service, "mx_model", None)
    if isinstance(module, mx.mod.Module | OnnxModule):
        module.forward(mx.io.DataBatch(inputs), is_train=False)
        outputs: list[Any] = module.get_outputs()
        return outputs
    # The preprocessing of a Gluon vision service gives arrays of these shapes and this type.
    preprocess = getattr(type(service), "_preprocess", None)
    if preprocess is GluonVisionService._preprocess:  # noqa: SLF001 - the users' interface
        outputs = service._inference(inputs)  # noqa: SLF001 - likewise
        return list(outputs) if isinstance(outputs, list | tuple) else [outputs]
    return []


def replace_this_process() -> None:
    """End this worker after its requests; the master starts another one in milliseconds."""
    os.kill(os.getpid(), signal.SIGTERM)
