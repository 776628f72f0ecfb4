"""Start, stop and restart of a host's serving, for ``mxnet-model-server`` (compatibility.md, 4).

A stop is graceful: nginx ends after its last request, so no queue has a request when the releases
end. Stopped releases stay enabled: a boot starts those of the newest generation, as after
``systemctl stop``.
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
    """The state of a host: the exit code of ``status`` by the Linux Standard Base."""

    RUNNING = 0
    DEGRADED = 1
    STOPPED = 3
    UNKNOWN = 4


@dataclass(frozen=True)
class Condition:
    """The state of a host, nginx's process id, its models, and those that are not ready."""

    state: State
    pid: int
    models: tuple[str, ...]
    missing: tuple[str, ...]


def check_condition(host: Host) -> Condition:
    """Return the state of the host.

    Raises:
        MMSError: the newest generation cannot be read, or systemctl fails.
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
    """Return the ``mms.conf`` of the newest generation; ``otherwise`` if there is none."""
    generation = generations.newest(host.layout)
    return Path(generation.conf) if generation else otherwise


def serve(host: Host, conf: Path, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Apply ``conf`` to the host, including nginx; return warnings.

    nginx's part is checked first and changed last, because it may need the new models.

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
    """Apply ``conf`` with new processes for every model; return warnings.

    A changed model is replaced without a failed request. The others are restarted one after the
    other, while requests wait at their sockets. A stopped host is started.

    Raises:
        MMSError: as for :func:`serve`, and for :func:`mms_server.deploy.operate.restart`.
    """
    parsed = conf_file.read(conf)
    nginx_config.check(host.layout, parsed, environ, host.proxy)
    outcome = engine.apply(host, conf)
    unchanged = [
        action.model
        for action in outcome.actions
        if action.action == "keep" and "start" not in action.repairs
    ]
    if unchanged:
        operate.restart(host, unchanged)
    _install_edge(host, conf, environ)
    return outcome.warnings


def stop(host: Host) -> list[str]:
    """Stop nginx, then every release, each after its last request; return the releases.

    Raises:
        LockHeldError: another process is changing the host.
        SupervisorError: a release did not stop; the others were stopped nevertheless.
    """
    errors: list[MMSError] = []
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
                errors.append(error)
    if errors:
        raise errors[0]
    return running


def _install_edge(host: Host, conf: Path, environ: Mapping[str, str]) -> None:
    with locked(host.layout, "mms edge", host.now(), wait_s=_LOCK_WAIT_S):
        nginx_config.install(host.layout, conf_file.read(conf), environ, host.proxy)
