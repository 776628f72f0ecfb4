"""The plan of a change: from the desired and the observed state to actions. Pure functions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from mms_server.config.backend_names import MXNET
from mms_server.deploy.desired_state import DesiredState
from mms_server.host.generations import Generation
from mms_server.host.release import Release, model_of
from mms_server.host.supervisor import UnitState

_DOWN = UnitState()


@dataclass(frozen=True)
class ObservedState:
    """The observed state of a host.

    ``generation`` is the newest one. ``states`` are by release. ``links`` maps endpoint names to
    the releases that the live links point at. ``warm`` maps warm releases to the uptime at which
    they end; ``uptime_s`` is the current uptime. ``served`` are the releases of all kept
    generations.
    """

    generation: Generation | None = None
    states: Mapping[str, UnitState] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    warm: Mapping[str, float] = field(default_factory=dict)
    uptime_s: float = 0.0
    served: frozenset[str] = frozenset()

    @property
    def models(self) -> Mapping[str, str]:
        """Return the release of each endpoint name in the newest generation."""
        return self.generation.models if self.generation else {}

    def state(self, release: str) -> UnitState:
        """Return the state of a release's units."""
        return self.states.get(release, _DOWN)

    def is_warm(self, release: str) -> bool:
        """Return whether a replaced release is loaded, and its time as warm has not ended."""
        return self.warm.get(release, 0.0) > self.uptime_s and self.state(release).up

    def unwanted(self, wanted: Collection[str]) -> list[str]:
        """Return the releases that have to end: present, but neither wanted nor warm."""
        names = sorted(set(self.states) - set(wanted))
        return [name for name in names if not (self.state(name).gone or self.is_warm(name))]


@dataclass(frozen=True)
class ModelAction:
    """The action for one model: ``keep``, ``load``, ``replace`` or ``unload``.

    ``repairs`` are the steps that a kept model still needs: ``start``, ``link``, ``enable``.
    """

    model: str
    action: str
    release: str | None
    previous: str | None
    repairs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """The plan of a change, in the order of ``mms.conf``.

    ``links`` maps models to the releases that their links have to point at. ``stale_links`` are the
    models whose link is removed. ``leftovers`` are releases that have to end: replaced, unloaded,
    or left by an apply that was killed. ``keep_warm`` maps those of them that have served to the
    seconds for which they stay loaded.
    """

    actions: tuple[ModelAction, ...]
    links: Mapping[str, str] = field(default_factory=dict)
    stale_links: tuple[str, ...] = ()
    leftovers: tuple[str, ...] = ()
    keep_warm: Mapping[str, int] = field(default_factory=dict)
    new_generation: bool = False

    @property
    def changed(self) -> bool:
        """Return whether the plan has anything to do."""
        acting = any(action.action != "keep" or action.repairs for action in self.actions)
        return acting or any((self.links, self.stale_links, self.leftovers, self.new_generation))

    def to_start(self) -> tuple[tuple[str, str], ...]:
        """Return name and id of each release that has to get ready before the switch."""
        releases = dict.fromkeys(
            action.release
            for action in self.actions
            if action.release
            and (action.action in ("load", "replace") or "start" in action.repairs)
        )
        return tuple((model_of(release), release) for release in releases)

    def replaced_by(self, release: str) -> list[str]:
        """Return the leftovers that a release replaces.

        They have its name, or served one of its models: models may move into a group or out of it.
        """
        previous = {action.previous for action in self.actions if action.release == release}
        name = model_of(release)
        return [old for old in self.leftovers if old in previous or model_of(old) == name]


def decide(wanted: DesiredState, observed: ObservedState, keep_warm_s: int = 0) -> Plan:
    """Return the plan that leads from the ``observed`` to the ``wanted`` state.

    ``keep_warm_s`` are the seconds for which releases of unloaded models stay warm.
    """
    ids = wanted.ids()
    actions = [_action(model, release, observed) for model, release in ids.items()]
    actions += [
        ModelAction(model, "unload", None, previous)
        for model, previous in observed.models.items()
        if model not in ids
    ]
    leftovers = observed.unwanted(ids.values())
    seconds = {name: wanted.keep_warm_s.get(model_of(name), keep_warm_s) for name in leftovers}
    return Plan(
        actions=tuple(actions),
        links={
            model: release for model, release in ids.items() if observed.links.get(model) != release
        },
        stale_links=tuple(sorted(set(observed.links) - set(ids))),
        leftovers=tuple(leftovers),
        keep_warm={
            name: seconds[name] for name in leftovers if seconds[name] and _may_stay(name, observed)
        },
        new_generation=_content(observed.generation)
        != (ids, wanted.host, wanted.port, wanted.metrics_write_to),
    )


def _may_stay(release: str, observed: ObservedState) -> bool:
    """Return whether a release is up and has served, and its time as warm has not ended."""
    live = release in observed.models.values()
    overdue = release in observed.warm and not live
    return observed.state(release).up and release in observed.served and not overdue


def _action(model: str, release: str, observed: ObservedState) -> ModelAction:
    previous = observed.models.get(model)
    if previous != release:
        return ModelAction(model, "replace" if previous else "load", release, previous)
    state = observed.state(release)
    needed = {
        "start": not state.up,
        "link": observed.links.get(model) != release,
        "enable": not state.enabled,
    }
    repairs = tuple(name for name, is_needed in needed.items() if is_needed)
    return ModelAction(model, "keep", release, previous, repairs)


def _content(generation: Generation | None) -> tuple[Mapping[str, str], str, int, str] | None:
    """Return what a change of the desired state compares of a generation."""
    if generation is None:
        return None
    return (generation.models, generation.host, generation.port, generation.metrics_write_to)


def _engine(release: Release) -> str:
    if release.engine == MXNET:
        return ""
    return f"{release.engine}, within {release.engine_tolerance:g} of {MXNET}"


def as_text(models: Mapping[str, tuple[str, Release | None, str]]) -> str:
    """Return a host's models as short YAML-like text, for a diff.

    ``models`` maps an endpoint name to (release id, the release or None, its repairs or "").
    """
    lines: list[str] = []
    for model, (release_id, release, repairs) in sorted(models.items()):
        lines += [f"{model}:", f"  release: {release_id}"]
        if release:
            part = release.parts.get(model)
            facts = {
                "group": release.model if release.group else "",
                "archive": part.archive_sha256 if part else "",
                "workers": release.workers,
                "runtime": release.runtime,
                "service": release.service,
                "engine": _engine(release),
                "environment": " ".join(f"{k}={v}" for k, v in release.environment.items()),
                "gunicorn": " ".join(release.gunicorn_args),
                "log file": release.log.file,
                "log level": release.log.level,
                "confinement": release.confinement.as_text(),
            }
            lines += [f"  {name}: {value}" for name, value in facts.items() if value]
        lines += [f"  lacks: {repairs}"] if repairs else []
    return "".join(f"{line}\n" for line in lines)
