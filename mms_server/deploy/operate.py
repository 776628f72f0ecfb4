"""Operation of a host without a change of its models: status, relink after a boot, restart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

from mms_server.config.backend_names import MXNET
from mms_server.core.errors import MMSError, ProbeError, ReleaseFailedError, SupervisorError
from mms_server.deploy.host_context import Host
from mms_server.deploy.plan import ObservedState
from mms_server.host import generations, live_links, unit_dropin
from mms_server.host.generations import Generation
from mms_server.host.lock import locked
from mms_server.host.release import model_of
from mms_server.host.supervisor import UnitState
from mms_server.server import health
from mms_server.server.health import ModelHealth

_LOCK_WAIT_S: Final = 60.0


@dataclass(frozen=True)
class ModelStatus:
    """The status of one model of the newest generation.

    ``socket`` is the path of its socket, ``engine`` the engine that computes the model.
    ``unconfined`` names the lifted protections and the reason. ``memory_bytes``, ``up_s`` (seconds
    since it got ready) and ``restarts`` (by systemd) are those of the model's service. ``warm``
    maps releases that are still loaded after their replacement to the seconds that they have left.
    ``group`` is the name of the model's group, or empty.
    """

    model: str
    release: str
    socket: str
    units: UnitState
    health: ModelHealth
    memory_bytes: int | None = None
    up_s: float | None = None
    restarts: int = 0
    warm: Mapping[str, float] = field(default_factory=dict)
    unconfined: str = ""
    engine: str = MXNET
    group: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the model's object in ``mms status --json``: its fields, units and health."""
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        units, found = own.pop("units"), own.pop("health")
        about = {"state": units.service, "socket_state": units.socket, "enabled": units.enabled}
        names = ("master", "workers", "linked", "serving", "ready", "reason")
        return {**own, **about, **{name: getattr(found, name) for name in names}}


def status(host: Host) -> tuple[Generation | None, list[ModelStatus]]:
    """Return the newest generation and the status of its models.

    Raises:
        MMSError: the generation cannot be read, or systemd cannot be asked.
    """
    generation = generations.newest(host.layout)
    if generation is None:
        return None, []
    observed = host.observe(generation.models)
    usage = host.supervisor.usage(list(generation.models.values()))
    found = health.check_models(host.layout, generation.models)
    left = warm_releases(observed)
    rows = []
    for model, name in generation.models.items():
        used, units, release = usage[name], observed.state(name), host.release(name)
        since = used.active_since_s if units.service == "active" else None
        rows.append(
            ModelStatus(
                model=model,
                release=name,
                socket=str(host.layout.socket(name)),
                units=units,
                health=found[model],
                memory_bytes=used.memory_bytes,
                up_s=None if since is None else max(0.0, observed.uptime_s - since),
                restarts=used.restarts,
                warm={
                    each: seconds
                    for each, seconds in left.items()
                    if model_of(each) in (model, model_of(name))
                },
                unconfined=release.confinement.lifted_text() if release else "",
                engine=release.engine if release else MXNET,
                group=release.model if release and release.group else "",
            )
        )
    return generation, rows


def warm_releases(observed: ObservedState) -> dict[str, float]:
    """Return the releases that are kept warm -> the seconds that they have left."""
    live = observed.models.values()
    return {
        name: until - observed.uptime_s
        for name, until in observed.warm.items()
        if observed.is_warm(name) and name not in live
    }


def relink(host: Host) -> list[str]:
    """Make the live links and the units match the newest generation; return what was done.

    This runs at boot: it asks systemd to start releases and does not wait for them. A link may
    lead to a release that is not ready yet: the socket keeps requests until then.

    Raises:
        MMSError: the host is being changed, the generation cannot be read, or systemd refused.
    """
    done: list[str] = []
    with locked(host.layout, "mms relink", host.now(), wait_s=_LOCK_WAIT_S):
        generation = generations.newest(host.layout)
        models = dict(generation.models) if generation else {}
        observed = host.observe(models)
        for model in sorted(observed.links.keys() - models.keys()):
            live_links.remove(host.layout, model)
            done.append(f"model {model}: link removed")
        for model, release in models.items():
            if observed.links.get(model) != release:
                live_links.point(host.layout, model, release)
                done.append(f"model {model}: link points at {release}")
            if not observed.state(release).enabled:
                host.supervisor.enable(release)
                done.append(f"model {model}: {release} starts at boot")
            if not observed.state(release).up:
                host.supervisor.start_soon(release)
                done.append(f"model {model}: {release} is asked to start")
        live_links.update_only_link(host.layout)
        for release in observed.unwanted(models.values()):
            host.supervisor.disable(release)
            host.supervisor.stop(release, host.settings.stop_timeout_s)
            done.append(f"release {release}: neither live nor kept warm; stopped")
    return done


def restart(host: Host, models: Sequence[str]) -> list[str]:
    """Restart the releases of ``models`` (all, if empty), one after the other; return the models.

    The socket of a release keeps the requests that arrive during its restart.

    Raises:
        MMSError: a model is not served here, or the host is being changed.
        ReleaseFailedError: a release did not get ready again; the remaining ones were not
            restarted.
    """
    with locked(host.layout, "mms restart", host.now()):
        generation = generations.newest(host.layout)
        served = generation.models if generation else {}
        unknown = [model for model in models if model not in served]
        if unknown:
            fix = f"use {', '.join(served)}." if served else "run `mms apply` first."
            raise MMSError(f"{', '.join(unknown)}: not served by this host.", fix=fix)
        chosen = [model for model in served if model in models or not models]
        # The models of a group have the same processes, which are restarted once.
        for release in dict.fromkeys(served[model] for model in chosen):
            _restart(host, release, next(each for each in chosen if served[each] == release))
    return chosen


def _restart(host: Host, release: str, model: str) -> None:
    host.report(f"model {model}: restart {release}")
    settings = host.settings
    try:
        described = host.release(release)
        if described:
            host.supervisor.configure({release: unit_dropin.render(host.layout, described)})
        host.supervisor.open_socket(release)
        host.supervisor.restart(release, settings.start_timeout_s + settings.stop_timeout_s)
        on_gpu = described is not None and described.on_gpu
        wait_s = settings.start_timeout_s if on_gpu else settings.probe_timeout_s
        host.probe(host.layout.socket(release), model, wait_s)
    except (SupervisorError, ProbeError) as error:
        journal = error.journal if isinstance(error, SupervisorError) else ""
        journal = journal or host.supervisor.journal(release)
        cause = f"{error.cause} Its last lines:\n{journal}\n"
        raise ReleaseFailedError(model, "restart", cause, fix=error.fix) from error
