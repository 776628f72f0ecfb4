"""The control application of a host: health, model lists, metrics. Its command is ``mms-control``.

It answers for all models without asking any of them, and imports no engine. The launcher becomes
gunicorn and keeps its process id, so systemd's socket and readiness protocol hold.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import bottle

from mms_server.archives import extract
from mms_server.archives.signature import Signature
from mms_server.config.mms_conf import DEFAULT_HOST, DEFAULT_PORT
from mms_server.core import console, refusals
from mms_server.core.errors import MMSError
from mms_server.core.paths import Layout
from mms_server.core.request_id import request_id
from mms_server.crashes.lookup import Lookup
from mms_server.host import live_links
from mms_server.host.generations import Generation
from mms_server.host.instance_files import InstanceFiles
from mms_server.host.release import Release
from mms_server.inference.batching.batch_decision import read_max_batch
from mms_server.metrics import multiprocess
from mms_server.metrics.multiprocess_files import HOST, MetricsFiles
from mms_server.overload import admission, queue_delay
from mms_server.overload.load_shedding import DrainRates, Queue, answered, load_shedding_route
from mms_server.overload.queue_delay import QueueDelay
from mms_server.rest import responses
from mms_server.rest.mms04.swagger import describe
from mms_server.rest.model_registry import ModelFacts
from mms_server.server import auth, health
from mms_server.server.control_counters import HostCounts
from mms_server.server.control_routes import host_routes
from mms_server.server.exposition import metrics_route
from mms_server.server.health import NewestGeneration

_ARGUMENTS = (
    "--workers=1",
    "--worker-class=gevent",
    "--no-control-socket",
    "--graceful-timeout=10",
    "--log-level=warning",
)
_PROXY_ERRORS_OF_0_1 = {"late": refusals.DEADLINE_EXCEEDED.proxy_error}
"""nginx.conf of 0.1 asks by these names until `mms edge` has written the new one: remove in 0.3."""

_AUTH_PATHS = (
    "/@auth",
    # The name in nginx.conf of 0.1: remove in 0.3.
    "/@key",
)


class Control:
    """The registry of the host's models: read for every request, from a few small files."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._newest = NewestGeneration(layout)
        self._releases: dict[tuple[str, str], tuple[Release, Signature | None]] = {}

    def healthy(self) -> bool:
        """Return whether all models of the host are ready; a host without models is not healthy."""
        try:
            generation = self._newest.get()
            if generation is None or not generation.models:
                return False
            found = health.check_models(self._layout, generation.models)
        except (MMSError, OSError) as error:
            _log(f"the host's health cannot be read: {error}")
            return False
        return all(model.ready for model in found.values())

    def troubles(self) -> dict[str, str]:
        """Return why models are not ready, by endpoint name."""
        try:
            generation = self._newest.get()
            models = generation.models if generation else {}
            found = health.check_models(self._layout, models)
        except (MMSError, OSError) as error:
            _log(f"the host's health cannot be read: {error}")
            return {}
        return {name: row.reason for name, row in found.items() if not row.ready}

    def models(self) -> dict[str, ModelFacts]:
        """Return the newest generation's models by endpoint name.

        Raises:
            MMSError: a release or its signature cannot be read.
            OSError: the same.
        """
        generation = self._newest.get()
        if generation is None:
            return {}
        found = health.check_models(self._layout, generation.models)
        facts: dict[str, ModelFacts] = {}
        for name, (release, signature) in self._known(generation).items():
            state = found[name]
            facts[name] = ModelFacts(
                name,
                release.version,
                state.ready,
                state.workers,
                release.workers,
                signature,
                release.parts[name].archive_sha256,
                generation.number,
                state.reason,
                read_max_batch(InstanceFiles(self._layout.instance(release.id)).batching),
                release.engine,
            )
        return facts

    def queue(self, name: str) -> Queue | None:
        """Return the queue of a model; None if the model is not served or not ready.

        Raises:
            MMSError: a release or its signature cannot be read.
            OSError: the same.
        """
        found = self._meant(name)
        if found is None:
            return None
        name, release = found
        ready = health.check_models(self._layout, {name: release.id})[name].ready
        limit_s = release.queue_timeout_ms / 1000
        return Queue(name, release.id, release.max_queue, limit_s) if ready else None

    def expected_wait(self, name: str) -> tuple[QueueDelay, int] | None:
        """Return the queue delay that a request to a model meets now, and its number of workers.

        It is None if there is no delay, or the delay is not known.
        """
        try:
            meant = self._meant(name)
        except (MMSError, OSError) as error:
            _log(f"how long requests to {name!r} wait cannot be read: {error}")
            return None
        if meant is None:
            return None
        release = meant[1]
        found = queue_delay.expected_wait(
            InstanceFiles(self._layout.instance(release.id)), time.time()
        )
        return (found, release.workers) if found else None

    def _meant(self, name: str) -> tuple[str, Release] | None:
        """Return the model that a name means, and its release; None if it is not served."""
        generation = self._newest.get()
        models = generation.models if generation else {}
        if name == live_links.ONLY and len(models) == 1:
            (name,) = models
        if generation is None or name not in models:
            return None
        return name, self._known(generation)[name][0]

    def description(self) -> dict[str, Any]:
        """Return the API description of the newest generation's models.

        Raises:
            MMSError: a release or its signature cannot be read.
            OSError: the same.
        """
        generation = self._newest.get()
        if generation is None:
            return describe(DEFAULT_HOST, DEFAULT_PORT, {})
        signatures = {name: row[1] for name, row in self._known(generation).items()}
        return describe(generation.host, generation.port, signatures)

    def _known(self, generation: Generation) -> dict[str, tuple[Release, Signature | None]]:
        # Releases and store entries never change, so each is read once.
        known = self._releases
        self._releases = {
            row: known.get(row) or self._read(*row) for row in generation.models.items()
        }
        return {row[0]: found for row, found in self._releases.items()}

    def _read(self, model: str, release_id: str) -> tuple[Release, Signature | None]:
        release = Release.from_json(self._layout.release_file(release_id).read_text("utf-8"))
        part = release.parts.get(model)
        if part is None:
            cause = f"release {release_id} does not serve {model}."
            raise MMSError(cause, fix="run `mms apply` again.")
        return release, extract.check(self._layout.store / part.archive_sha256)[1]


def create_app(root: str = "/") -> Any:
    """Return the WSGI application for the host below ``root``."""
    layout = Layout.under(Path(root))
    app = responses.bottle_app()
    registry, directory = Control(layout), layout.metrics / HOST
    answered_for_nginx = partial(_answer_for_nginx, Lookup(layout), registry.expected_wait)
    app.add_hook("before_request", answered_for_nginx)
    multiprocess.configure(directory, HOST)
    check_key = _auth_route(app, auth.KeyRing(layout.etc / auth.FILE_NAME))
    admission.admission_route(app, registry.expected_wait, check_key)
    load_shedding_route(app, registry.queue, DrainRates(partial(answered, layout)))
    host_routes(app, registry, HostCounts(directory).count)
    files = MetricsFiles(layout, partial(health.has_processes, layout))
    metrics_route(app, registry, files.collect)
    return app


def _answer_for_nginx(lookup: Lookup, expected_wait: admission.ExpectedWait) -> None:
    """Answer with the page of an error that nginx found; nginx lets no client send the header."""
    environ = bottle.request.environ
    name = environ.get("HTTP_X_MMS_ERROR", "")
    refusal = refusals.of_proxy_error(_PROXY_ERRORS_OF_0_1.get(name, name))
    if refusal is None:
        return
    if refusal is refusals.DEADLINE_EXCEEDED:
        error = admission.current_rejection(expected_wait(environ.get(admission.MODEL_KEY, "")))
        # The queue may be shorter by now: nginx has rejected the request all the same.
        if error:
            raise responses.ErrorPage(refusal, str(error), error.retry_after_s)
    text = refusal.text
    if refusal is refusals.WORKER_DIED:
        certificate = lookup.certificate(request_id())
        text += f" Certificate: {certificate}." if certificate else ""
    raise responses.ErrorPage(refusal, text)


def _auth_route(app: Any, keys: auth.KeyRing) -> Callable[[], bytes]:
    """Add the route that nginx asks whether a request has a valid API key, and whose key it is."""

    def check() -> bytes:
        environ, response = bottle.request.environ, bottle.response
        # The preflight of a browser brings no key, and gets no prediction.
        preflight = environ.get("HTTP_X_MMS_METHOD") == "OPTIONS"
        owner = "-" if preflight else keys.owner(auth.key_of_request(environ))
        if owner is None:
            response.status = 401
        else:
            response.set_header("X-Mms-Key", owner)
        return b""

    for path in _AUTH_PATHS:
        app.get(path, callback=check, skip=True)
    return check


def command(root: Path, bind: str | None) -> list[str]:
    """Return gunicorn's command line; without ``bind``, systemd passes the socket."""
    address = [f"--bind={bind}"] if bind else []
    app = f"mms_server.server.control_app:create_app({str(root)!r})"
    return [sys.executable, "-m", "gunicorn", *_ARGUMENTS, *address, app]


def main(argv: Sequence[str] | None = None) -> int:
    """Become gunicorn; return only with an exit code that is an error."""
    parser = argparse.ArgumentParser(
        prog="mms-control",
        description="Answer for this host: health, description, metrics.",
    )
    console.add_version(parser)
    parser.add_argument("--layout-root", type=Path, default=Path("/"), help="stands for / in tests")
    parser.add_argument("--bind", help="address to listen on, where systemd passes no socket")
    options = parser.parse_args(argv)
    passed = os.environ.get("LISTEN_PID") == str(os.getpid())
    if passed or options.bind:
        _become(command(options.layout_root, options.bind))
    _log("no socket was passed. Fix: start mms-control.socket, or give --bind.")
    return 2


def _become(words: list[str]) -> NoReturn:
    os.execv(words[0], words)  # noqa: S606 - no shell


def _log(text: str) -> None:
    print(f"mms-control: {text}", file=sys.stderr)  # noqa: T201 - the journal reads it
