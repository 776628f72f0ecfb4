"""The WSGI application of a release.

Importing this module loads the release's models, runs their warm-up and checks golden samples.
"""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from typing import Any

from gunicorn.arbiter import Arbiter

from mms_server.archives import golden_samples
from mms_server.config.devices import SLOT_VARIABLE, device_of
from mms_server.config.request_limits import RequestLimits
from mms_server.core.errors import MMSError
from mms_server.crashes.in_flight_log import InFlightLog
from mms_server.crashes.quarantine import ReleaseQuarantine
from mms_server.host import start_failure
from mms_server.host.cgroup import Cgroup
from mms_server.host.instance_files import InstanceFiles
from mms_server.host.release import Release
from mms_server.host.worker_memory import WorkerMemory, limit_of, resident_bytes
from mms_server.inference.backends.converted_network import ConversionCache
from mms_server.inference.backends.selection import BackendChoice
from mms_server.inference.batching import batch_decision
from mms_server.inference.batching.batch_delay import BatchDelay
from mms_server.inference.engine_heartbeat import EngineHeartbeat
from mms_server.inference.executor import Engine
from mms_server.inference.model_loader import load_model
from mms_server.inference.warmup import (
    BatchingOptions,
    Limits,
    make_ready,
    replace_this_process,
    warm_up,
)
from mms_server.metrics.prediction_metrics import MemoryMetrics, PredictionMetrics
from mms_server.overload.backlog_limit import BacklogLimit
from mms_server.overload.queue_delay import QueueDelayRecorder
from mms_server.overload.worker_load import WorkerLoad
from mms_server.rest.responses import bottle_app
from mms_server.rest.routes import model_routes
from mms_server.server.gevent_worker import LIFECYCLE
from mms_server.server.release_launcher import RELEASE_VARIABLE, layout_of, read_release
from mms_server.server.worker_lifecycle import IntakeLimits, WorkerLifecycle


def _application() -> Any:
    layout = layout_of(os.environ)
    release = read_release(layout, os.environ[RELEASE_VARIABLE])
    slot = int(os.environ.get(SLOT_VARIABLE, "0"))
    models = [
        load_model(
            name,
            layout.store / part.archive_sha256,
            service_file=release.service or None,
            gpu=device_of(slot, gpu=release.gpu, num_gpu=release.num_gpu),
            version=release.version,
        )
        for name, part in release.parts.items()
    ]
    limits = Limits(
        release.predict_timeout_s,
        RequestLimits.of(release),
        {name: part.request_timeout_ms / 1000 for name, part in release.parts.items()},
        release.workers,
    )
    app = bottle_app()
    observer = PredictionMetrics(layout.release_metrics(release.id), [*release.parts])
    samples = {
        name: golden_samples.read(layout.store / (part.golden or part.archive_sha256))
        for name, part in release.parts.items()
    }
    instance_files = InstanceFiles(layout.instance(release.id))
    quarantine = ReleaseQuarantine(
        instance_files, InFlightLog(instance_files.in_flight), resident_bytes
    )
    engine = Engine(release.predict_timeout_s, partial(_replace_stuck, quarantine))
    worker_load = WorkerLoad(instance_files.worker_load, release.workers)
    batch_delay = BatchDelay(release.max_batch_delay_ms / 1000)
    batching = BatchingOptions(
        release.max_batch_size,
        lambda: worker_load.own,
        partial(batch_decision.record, instance_files=instance_files),
        # On a GPU, CPU time says nothing about the cost of a forward.
        time.perf_counter if release.on_gpu else None,
        batch_delay.wait,
    )
    servables = make_ready(
        models,
        limits,
        observer,
        samples,
        quarantine=quarantine,
        engine=engine,
        batching=batching,
        backend=BackendChoice(release.engine, release.engine_tolerance),
        conversions=ConversionCache(
            layout.store / release.conversion if release.conversion else None,
            instance_files.conversion,
        ),
        record_queue_delay=QueueDelayRecorder(instance_files.queue, time.time).record,
    )
    model_routes(app, servables)
    # The models of a group share the engine, so one of them shows whether it works.
    first = next((model for model in models if model.signature), models[0])
    sample = partial(warm_up, first, finite=False)
    heartbeat = EngineHeartbeat(engine, sample, servables[first.name].warm_up_s)
    memory_metrics = MemoryMetrics([release.model])
    memory = WorkerMemory(_memory_limit(release), memory_metrics.record, time.monotonic)
    batch_computer = servables[first.name].batch_computer
    backlog = BacklogLimit(release.max_queue, release.queue_timeout_ms / 1000, release.workers)
    intake = IntakeLimits(
        worker_load, batch_computer.max_batch if batch_computer else 1, backlog, batch_delay
    )
    setattr(
        app,
        LIFECYCLE,
        WorkerLifecycle(
            instance_files, quarantine, heartbeat, memory, memory_metrics.replaced, intake=intake
        ),
    )
    return app


def _memory_limit(release: Release) -> int:
    # Memory from before the fork is shared. On a GPU a worker loads the model and shares nothing.
    shared = 0 if release.on_gpu else resident_bytes()
    return limit_of(release.worker_memory_max_bytes, release.workers, shared, Cgroup.current())


def _replace_stuck(quarantine: ReleaseQuarantine) -> None:
    quarantine.stuck()
    replace_this_process()


try:
    application = _application()
except MMSError as error:
    # Gunicorn would print a traceback. The journal must end with the cause and the fix.
    print(start_failure.format_line(error), file=sys.stderr, flush=True)  # noqa: T201
    # On a GPU a worker loads the model. It has to end the master too, which would restart it.
    in_worker = SLOT_VARIABLE in os.environ
    sys.exit(Arbiter.WORKER_BOOT_ERROR if in_worker else error.exit_code)
