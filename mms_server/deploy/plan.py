"""The decision: from what is wanted and what is there to what has to be done. No side effects."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from mms_server.config.backend_names import MXNET
from mms_server.deploy.desired_state import DesiredState
from mms_server.host.generations import Generation
from mms_server.host.release import Release, model_of
from mms_server.host.systemd import UnitState

_DOWN = UnitState()


@dataclass(frozen=True)
class ObservedState:
    """A host as it is: ``links`` and ``generation`` name release ids, by endpoint name.

    ``warm`` says at which uptime replaced releases end that are still loaded, ``uptime_s`` is the
    uptime now. ``served`` are the releases of all generations that are kept.
    """

    generation: Generation | None = None
    states: Mapping[str, UnitState] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    warm: Mapping[str, float] = field(default_factory=dict)
    uptime_s: float = 0.0
    served: frozenset[str] = frozenset()

    @property
    def models(self) -> Mapping[str, str]:
        """Return what the newest generation wants: endpoint name -> release id."""
        return self.generation.models if self.generation else {}

    def state(self, release: str) -> UnitState:
        """Return the state of a release's units."""
        return self.states.get(release, _DOWN)

    def is_warm(self, release: str) -> bool:
        """Return whether a release that was replaced is loaded and may stay so for now."""
        return self.warm.get(release, 0.0) > self.uptime_s and self.state(release).up

    def unwanted(self, wanted: Collection[str]) -> list[str]:
        """Return the releases that have to end: neither wanted nor kept warm, and still there."""
        names = sorted(set(self.states) - set(wanted))
        return [name for name in names if not (self.state(name).gone or self.is_warm(name))]


@dataclass(frozen=True)
class ModelAction:
    """What happens to one model: ``keep``, ``load``, ``replace`` or ``unload``.

    ``repairs`` says what a kept model lacks: ``start``, ``link``, ``enable``.
    """

    model: str
    action: str
    release: str | None
    previous: str | None
    repairs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What has to be done, in the order of ``mms.conf``.

    ``leftovers`` are releases that nobody wants and that are still there: replaced and unloaded
    ones, and those of an apply that was killed. ``keep_warm`` are those of them that have served,
    with the seconds for which they stay loaded. ``stale_links`` are models whose link has to go.
    """

    actions: tuple[ModelAction, ...]
    links: Mapping[str, str] = field(default_factory=dict)
    stale_links: tuple[str, ...] = ()
    leftovers: tuple[str, ...] = ()
    keep_warm: Mapping[str, int] = field(default_factory=dict)
    new_generation: bool = False

    @property
    def changed(self) -> bool:
        """Return whether there is anything to do."""
        busy = any(action.action != "keep" or action.repairs for action in self.actions)
        rest = (self.links, self.stale_links, self.leftovers, self.new_generation)
        return busy or any(rest)

    def to_start(self) -> tuple[tuple[str, str], ...]:
        """Return name and release of everything that has to get ready before the switch."""
        found = dict.fromkeys(
            action.release
            for action in self.actions
            if action.release
            and (action.action in ("load", "replace") or "start" in action.repairs)
        )
        return tuple((model_of(release), release) for release in found)

    def replaced_by(self, release: str) -> list[str]:
        """Return the leftovers in whose place a release comes.

        They are those of its name, and those that served its models: models may come into a group,
        and leave it.
        """
        previous = {row.previous for row in self.actions if row.release == release}
        name = model_of(release)
        return [each for each in self.leftovers if each in previous or model_of(each) == name]


def decide(wanted: DesiredState, observed: ObservedState, keep_warm_s: int = 0) -> Plan:
    """Return how a host that is as ``observed`` comes to serve what is ``wanted``.

    ``keep_warm_s`` is for models that are not wanted any more.
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
        new_generation=_facts(observed.generation)
        != (ids, wanted.host, wanted.port, wanted.metrics_write_to),
    )


def _may_stay(release: str, observed: ObservedState) -> bool:
    """Return whether a release has served, and its time afterwards is not yet over."""
    live = release in observed.models.values()
    over = release in observed.warm and not live
    return observed.state(release).up and release in observed.served and not over


def _action(model: str, release: str, observed: ObservedState) -> ModelAction:
    previous = observed.models.get(model)
    if previous != release:
        return ModelAction(model, "replace" if previous else "load", release, previous)
    state = observed.state(release)
    lacking = {
        "start": not state.up,
        "link": observed.links.get(model) != release,
        "enable": not state.enabled,
    }
    repairs = tuple(name for name, lacks in lacking.items() if lacks)
    return ModelAction(model, "keep", release, previous, repairs)


def _facts(generation: Generation | None) -> tuple[Mapping[str, str], str, int, str] | None:
    if generation is None:
        return None
    return (generation.models, generation.host, generation.port, generation.metrics_write_to)


def _engine(release: Release) -> str:
    if release.engine == MXNET:
        return ""
    return f"{release.engine}, within {release.engine_tolerance:g} of {MXNET}"


def as_text(models: Mapping[str, tuple[str, Release | None, str]]) -> str:
    """Return a host's models as short YAML-like text, for a diff.

    ``models`` maps an endpoint name to (release id, the release if it is known, a note or "").
    """
    lines: list[str] = []
    for model, (release_id, release, note) in sorted(models.items()):
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
        lines += [f"  lacks: {note}"] if note else []
    return "".join(f"{line}\n" for line in lines)
