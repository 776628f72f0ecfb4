"""The processes of the standalone server: gunicorn with all models preloaded."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
from gevent import monkey
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from mms_server.cli.standalone.options import Options
from mms_server.config.devices import SLOT_VARIABLE, device_of
from mms_server.core import log_setup
from mms_server.core.errors import MMSError
from mms_server.core.paths import Layout
from mms_server.host.worker_slots import WorkerSlots
from mms_server.inference.model_loader import load_model
from mms_server.inference.servable import Servable
from mms_server.inference.warmup import Limits, make_ready
from mms_server.metrics import reporter, system_metrics
from mms_server.metrics.multiprocess_files import MetricsFiles
from mms_server.metrics.prediction_metrics import PredictionMetrics
from mms_server.metrics.reporter import MetricsWriter
from mms_server.metrics.sink_selection import sink_for
from mms_server.metrics.system_metrics import HostUsage
from mms_server.rest.mms04.swagger import describe
from mms_server.rest.model_registry import ModelFacts
from mms_server.rest.responses import bottle_app
from mms_server.rest.routes import model_routes
from mms_server.server.arbiter import StopRetryArbiter
from mms_server.server.control_counters import HostCounts
from mms_server.server.control_routes import host_routes
from mms_server.server.exposition import metrics_route
from mms_server.server.worker_counters import WorkerCounters

_LIMITS = Limits(predict_timeout_s=60.0)

_SELF = "standalone"

_log = logging.getLogger("mms")


def serve(options: Options) -> int:
    """Load the models and serve them until a signal ends the server.

    Raises:
        OSError: the address cannot be used.
        MMSError: a model cannot be loaded.
    """
    log_setup.set_up(options.log, log_setup.FILE_FORMAT)
    with _bound(options.host, options.port) as bound:
        # First, because it selects the files in which metrics are counted.
        files = WorkerCounters(_directory(options), list(options.models))
        # CUDA does not work after a fork: on a GPU each worker loads the models itself.
        app = None if options.on_gpu else _application(options)
        _Server(app, bound.detach(), options, files).run()
    return 0


def _bound(host: str, port: int) -> socket.socket:
    """Return a bound socket: a port in use is an error before models are loaded."""
    try:
        rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise MMSError(f"--host {host}: {error.strerror}.", fix="give an address.") from error
    family, kind, protocol, _, address = rows[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted connections inherit this option. Headers and body are sent separately; without
        # the option the body waits 40 ms for the client's acknowledgement.
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def _application(options: Options, slot: int = 0) -> Any:
    gpu = device_of(slot, gpu=options.gpu, num_gpu=options.num_gpu)
    models = [
        load_model(name, path, service_file=options.service, gpu=gpu)
        for name, path in options.models.items()
    ]
    directory = _directory(options)
    servables = make_ready(models, _LIMITS, PredictionMetrics(directory, list(options.models)))
    _log.info("Initialized model serving.")
    app = bottle_app()
    model_routes(app, servables)
    catalogue = StandaloneRegistry(options, servables)
    host_routes(app, catalogue, HostCounts(directory).count)
    metrics_route(app, catalogue, _files(options).collect)
    # The texts of 0.4 (compatibility.md, 6): users search logs for them.
    for endpoint in (*(f"{name}_predict" for name in servables), "ping", "api-description"):
        _log.info("Adding endpoint: %s to Flask", endpoint)
    return app


def _directory(options: Options) -> Path:
    return _layout(options).release_metrics(_SELF)


def _files(options: Options) -> MetricsFiles:
    return MetricsFiles(_layout(options), lambda _name: True)


def _layout(options: Options) -> Layout:
    return Layout(run=options.scratch)


class StandaloneRegistry:
    """The models of this process tree: all are loaded; each service reports its health."""

    def __init__(self, options: Options, servables: Mapping[str, Servable]) -> None:
        self._options = options
        self._servables = servables

    def healthy(self) -> bool:
        """Return whether all models are healthy."""
        return all(servable.healthy() for servable in self._servables.values())

    def troubles(self) -> dict[str, str]:
        """Return the models that are not healthy, with the reason."""
        unwell = (name for name, row in self._servables.items() if not row.healthy())
        return dict.fromkeys(unwell, "its ping fails, or its engine is stuck")

    def models(self) -> dict[str, ModelFacts]:
        """Return the models by endpoint name."""
        alive = len(psutil.Process(os.getppid()).children())
        wanted = self._options.workers
        return {
            name: ModelFacts(
                name, row.model.version, row.healthy(), alive, wanted, row.model.signature
            )
            for name, row in self._servables.items()
        }

    def description(self) -> dict[str, Any]:
        """Return the API description."""
        signatures = {name: row.model.signature for name, row in self._servables.items()}
        return describe(self._options.host, self._options.port, signatures)


class _Server(BaseApplication):  # type: ignore[misc]
    """Gunicorn with an application that is loaded before the fork, or by each worker."""

    def __init__(self, app: Any, descriptor: int, options: Options, files: WorkerCounters) -> None:
        self._app = app
        self._files = files
        self._slots = WorkerSlots()
        self._descriptor = descriptor
        self._options = options
        super().__init__()

    def load_config(self) -> None:
        """Set the options that differ from gunicorn's defaults."""
        level = self._options.log.level
        for key, value in {
            "bind": f"fd://{self._descriptor}",
            "workers": self._options.workers,
            "worker_class": "mms_server.server.gevent_worker.Worker",
            "preload_app": self._app is not None,
            "keepalive": 0,
            "timeout": 120,
            "graceful_timeout": 60,
            "control_socket_disable": True,
            "loglevel": "warning" if level == "INFO" else level.lower().replace("notset", "debug"),
            "when_ready": self._when_ready,
            "pre_fork": self._pre_fork,
            "post_fork": self._post_fork,
            "child_exit": self._child_exit,
        }.items():
            self.cfg.set(key, value)

    def run(self) -> None:
        """Become the master."""
        StopRetryArbiter(self).run()

    def load(self) -> Any:
        """Return the application: loaded before the fork, or by each worker on a GPU.

        A worker whose model cannot be loaded ends the server: a new worker would fail too.
        """
        if self._app is not None:
            return self._app
        try:
            return _application(self._options, int(os.environ[SLOT_VARIABLE]))
        except MMSError as error:
            _log.error("%s", error)
            sys.exit(Arbiter.WORKER_BOOT_ERROR)

    def _pre_fork(self, server: Any, worker: Any) -> None:
        worker.slot = self._slots.take(worker.age)
        self._files.pre_fork(server, worker)

    def _post_fork(self, _server: Any, worker: Any) -> None:
        self._files.post_fork(worker)
        os.environ[SLOT_VARIABLE] = str(worker.slot)

    def _child_exit(self, _server: Any, worker: Any) -> None:
        self._files.child_exit(worker)
        self._slots.free(worker.age)

    def _when_ready(self, _arbiter: Any) -> None:
        place = f"{self._options.host}:{self._options.port}"
        _log.info("Service started successfully.")
        _log.info("Service description endpoint: %s/api-description", place)
        _log.info("Service health endpoint: %s/ping", place)
        _write_metrics(self._options)


def _write_metrics(options: Options) -> None:
    """Write metrics in a native thread of this process, which forked workers do not have."""
    sink = sink_for(options.metrics_write_to, Path("metrics").absolute())
    writer = MetricsWriter(_files(options).read_minute, HostUsage(), sink)

    # gevent's sleep would make an event loop for this thread.
    sleep = monkey.get_original("time", "sleep")

    def work() -> None:
        system_metrics.start_cpu_measurement(sleep)
        writer.write_first_sample()
        reporter.run(writer.step, sleep)

    monkey.get_original("_thread", "start_new_thread")(work, ())
