"""Start, stop and restart what a host serves, for the control command (contract, section 4).

A stop is graceful: nginx ends after its last request, so nothing is left in any queue when the
releases end. What is stopped stays enabled: a boot serves what the newest generation says, as
``systemctl stop`` has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from mms_server.config import mms_conf as conf_file
from mms_server.core.errors import MMSError
from mms_server.deploy import apply as engine
from mms_server.deploy import nginx_config, operate
from mms_server.deploy.host_context import Host
from mms_server.host import generations
from mms_server.host.lock import locked

_LOCK_WAIT_S = 60.0


class State(IntEnum):
    """How a host is, as the exit code of ``status`` in the words of the Linux Standard Base."""

    RUNNING = 0
    DEGRADED = 1
    STOPPED = 3
    UNKNOWN = 4


@dataclass(frozen=True)
class Condition:
    """A host's state; ``missing`` are the models that are wanted and not ready."""

    state: State
    pid: int
    models: tuple[str, ...]
    missing: tuple[str, ...]


def condition(host: Host) -> Condition:
    """Return how the host is.

    Raises:
        MMSError: the generation cannot be read, or systemd cannot be asked.
    """
    pid = host.proxy.pid()
    _generation, rows = operate.status(host)
    models = tuple(row.model for row in rows)
    missing = tuple(row.model for row in rows if not row.units.up)
    if pid and models and not missing:
        state = State.RUNNING
    elif not pid and len(missing) == len(models):
        state = State.STOPPED
    else:
        state = State.DEGRADED
    return Condition(state, pid, models, missing)


def default_conf(host: Host, otherwise: Path) -> Path:
    """Return the file that the newest generation came from, ``otherwise`` if there is none."""
    generation = generations.newest(host.layout)
    return Path(generation.conf) if generation else otherwise


def serve(host: Host, conf: Path, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Make the host serve what ``conf`` says, nginx included; return warnings.

    nginx's part is checked first, and changed last: it may need the new models.

    Raises:
        MMSError: as for :func:`mms_server.deploy.apply.apply` and
            :func:`mms_server.deploy.nginx_config.install`.
    """
    parsed = conf_file.read(conf)
    nginx_config.check(host.layout, parsed, environ, host.proxy)
    outcome = engine.apply(host, conf)
    _install_edge(host, conf, environ)
    return outcome.warnings


def restart(host: Host, conf: Path, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Serve what ``conf`` says, with new processes for every model; return warnings.

    A model that has changed is replaced without losing a request; the others are restarted one by
    one, while their sockets keep what arrives. A stopped host is started.

    Raises:
        MMSError: as for :func:`serve`, and for :func:`mms_server.deploy.operate.restart`.
    """
    parsed = conf_file.read(conf)
    nginx_config.check(host.layout, parsed, environ, host.proxy)
    outcome = engine.apply(host, conf)
    kept = [
        row.model for row in outcome.actions if row.action == "keep" and "start" not in row.repairs
    ]
    if kept:
        operate.restart(host, kept)
    _install_edge(host, conf, environ)
    return outcome.warnings


def stop(host: Host) -> list[str]:
    """Stop nginx, then every release, each after its last request; return the releases.

    Raises:
        LockHeldError: the host is being changed.
        SupervisorError: something did not stop; what comes after it was tried as well.
    """
    failures: list[MMSError] = []
    with locked(host.layout, "mxnet-model-server stop", host.now(), wait_s=_LOCK_WAIT_S):
        if host.proxy.pid():
            host.report("stop nginx, after its last request")
            host.proxy.stop()
        states = host.supervisor.states([])
        running = sorted(
            name
            for name, state in states.items()
            if (state.service, state.socket) != ("inactive", "inactive")
        )
        for release in running:
            host.report(f"stop release {release}")
            try:
                host.supervisor.stop(release, host.settings.stop_timeout_s)
            except MMSError as error:
                failures.append(error)
    if failures:
        raise failures[0]
    return running


def _install_edge(host: Host, conf: Path, environ: Mapping[str, str]) -> None:
    with locked(host.layout, "mms edge", host.now(), wait_s=_LOCK_WAIT_S):
        nginx_config.install(host.layout, conf_file.read(conf), environ, host.proxy)
