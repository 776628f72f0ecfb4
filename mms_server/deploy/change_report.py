"""The report of a change, planned or done: for people, for programs and for a diff."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mms_server.core.errors import NoRoomError
from mms_server.core.formatting import size
from mms_server.deploy.capacity import Capacity, Forecast, forecast
from mms_server.deploy.desired_state import DesiredState
from mms_server.deploy.host_context import Host
from mms_server.deploy.plan import ModelAction, ObservedState, Plan, as_text
from mms_server.host.release import Release, model_of
from mms_server.host.resource_profile import (
    MeasuredRelease,
    ResourceNeed,
    ResourceProfile,
    estimate_need,
    read,
)
from mms_server.host.supervisor import Usage

_SHOWN_CHARACTERS: dict[str, int] = {"archive_sha256": 12, "golden": 12}


@dataclass(frozen=True)
class Change:
    """One setting of a model, before and after the change; empty if it has no value."""

    name: str
    before: str
    after: str


@dataclass(frozen=True)
class Outcome:
    """The outcome of a change, planned or done; ``before`` and ``after`` are texts for a diff.

    ``changes``: the changed settings, by model. ``keep_warm``: seconds, by release.
    ``gap_s``: the seconds that requests have waited, by model.
    ``forecast``: None if there is nothing to do. ``refusal``: why the change is refused, or None.
    ``command``: the command that makes the change.
    """

    changed: bool
    generation: int | None
    actions: tuple[ModelAction, ...]
    leftovers: tuple[str, ...]
    before: str
    after: str
    warnings: tuple[str, ...] = ()
    changes: Mapping[str, tuple[Change, ...]] = field(default_factory=dict)
    keep_warm: Mapping[str, int] = field(default_factory=dict)
    forecast: Forecast | None = None
    risks: tuple[str, ...] = ()
    refusal: NoRoomError | None = None
    gap_s: Mapping[str, float] = field(default_factory=dict)
    command: str = "mms apply"


def measure_capacity(host: Host, wanted: DesiredState, observed: ObservedState) -> Capacity:
    """Measure the host's memory and the loaded releases; estimate the needs of wanted releases.

    Raises:
        SupervisorError: systemctl fails.
    """
    memory = host.memory()
    usage = host.supervisor.usage(
        [name for name, state in observed.states.items() if not state.gone]
    )
    needs = {
        release.id: expected_need(
            host,
            release,
            wanted.archive_bytes(release),
            # For a group only an earlier release of the group: models alone need other memory.
            next((old for old in observed.models.values() if model_of(old) == name), None),
            usage,
        )
        for name, release in wanted.named.items()
    }
    loaded = {name: used.memory_bytes or 0 for name, used in usage.items()}
    reserve = host.settings.memory_reserve
    return Capacity(memory.total, memory.available, reserve, needs, loaded)


def expected_need(
    host: Host,
    release: Release,
    archive_bytes: int,
    replaces: str | None,
    usage: Mapping[str, Usage],
) -> ResourceNeed:
    """Return the need of a release, from its own profile or that of the release it ``replaces``.

    ``usage`` has the memory of the loaded releases.
    """
    profile = read(host.layout.measured_file(release.id))
    return estimate_need(release, archive_bytes, profile, _measured(host, replaces, usage))


def _measured(host: Host, name: str | None, usage: Mapping[str, Usage]) -> MeasuredRelease | None:
    """Return a serving release with its profile, which includes its growth since the start."""
    release = host.release(name) if name else None
    if name is None or release is None:
        return None
    archives = [part.archive_sha256 for part in release.parts.values()]
    if not all(map(host.store.has, archives)):
        return None
    profile, now = read(host.layout.measured_file(name)), usage.get(name, Usage())
    if profile is None:
        return None
    memory = max(profile.memory_bytes, now.memory_bytes or 0)
    peak = max(profile.peak_bytes, now.peak_bytes or 0, memory)
    size_bytes = sum(host.store.content(digest).size_bytes for digest in archives)
    return MeasuredRelease(release, size_bytes, ResourceProfile(memory, peak, profile.ready_s))


def make_outcome(
    host: Host, wanted: DesiredState, observed: ObservedState, plan: Plan, *, allow_gap: bool
) -> Outcome:
    """Return the outcome of ``plan``, with its forecast.

    Raises:
        SupervisorError: systemctl fails.
    """
    known = {model: host.release(name) for model, name in observed.models.items()}
    repairs = {action.model: ", ".join(action.repairs) for action in plan.actions}
    before = {
        model: (name, known[model], repairs.get(model, ""))
        for model, name in observed.models.items()
    }
    after = {model: (release.id, release, "") for model, release in wanted.releases.items()}
    leftovers = "".join(
        f"leftover: {name}\n" for name in plan.leftovers if name not in observed.models.values()
    )
    costs = None
    if plan.changed:
        costs = forecast(plan, observed, measure_capacity(host, wanted, observed))
    return Outcome(
        changed=plan.changed,
        generation=observed.generation.number if observed.generation else None,
        actions=plan.actions,
        leftovers=plan.leftovers,
        before=as_text(before) + leftovers,
        after=as_text(after),
        warnings=wanted.warnings,
        changes={
            model: differences(model, old, wanted.releases[model])
            for model, old in known.items()
            if old and model in wanted.releases and old != wanted.releases[model]
        },
        keep_warm={} if costs and costs.gap else plan.keep_warm,
        forecast=costs,
        risks=_risks(wanted, known, costs) if costs else (),
        refusal=costs.refusal(allow_gap=allow_gap) if costs else None,
    )


def differences(model: str, before: Release, after: Release) -> tuple[Change, ...]:
    """Return the settings of a model that differ between two releases."""
    old, new = _flat(model, before), _flat(model, after)
    names = [*old, *(name for name in new if name not in old)]
    return tuple(
        Change(name, old.get(name, ""), new.get(name, ""))
        for name in names
        if old.get(name, "") != new.get(name, "")
    )


def _flat(model: str, release: Release) -> dict[str, str]:
    """Return all settings of a model in a release, as texts by name."""
    flat: dict[str, str] = {}
    part = release.parts.get(model)
    settings = vars(release) | (vars(part) if part else {})
    settings |= {"group": release.model if release.group else ""}
    for name, value in settings.items():
        if name == "model":
            continue
        if isinstance(value, Mapping):
            flat.update({key: str(item) for key, item in value.items()})
        elif isinstance(value, tuple):
            flat[name] = " ".join(map(str, value))
        elif hasattr(value, "__dict__"):
            flat.update({f"{name}.{key}": str(item) for key, item in vars(value).items()})
        else:
            flat[name] = "" if value is None else str(value)[: _SHOWN_CHARACTERS.get(name)]
    return flat


def _risks(
    wanted: DesiredState, known: Mapping[str, Release | None], costs: Forecast
) -> tuple[str, ...]:
    risks = []
    for name, needs in costs.starts.items():
        release = wanted.named[name]
        for model, part in release.parts.items():
            risks += _risks_of(model, release, known.get(model))
            if not (part.golden or wanted.contents[model].golden):
                risks.append(
                    f"model {model}: no golden samples, so wrong answers would not be noticed"
                )
        if release.group:
            risks.append(
                f"group {name}: its {len(release.group)} models share processes: a crash of one "
                "ends the others, and a change of one replaces all"
            )
        if not needs.measured:
            subject = f"{'group' if release.group else 'model'} {name}"
            risks.append(f"{subject}: never loaded on this host: memory and seconds are estimates")
    for model in costs.gap:
        seconds = costs.starts[model].ready_s
        risks.append(
            f"model {model}: it does not fit beside what is loaded, {size(costs.short_bytes)} are "
            f"missing: a gap of about {seconds:.0f} s, in which requests wait"
        )
    risks += [f"release {name}, kept warm or left over, ends first" for name in costs.evicted]
    return tuple(risks)


def _risks_of(model: str, release: Release, old: Release | None) -> list[str]:
    """Return the risks of replacing the release ``old`` of a model."""
    risks = []
    if old and old.runtime != release.runtime:
        risks.append(f"model {model}: the runtime changes, and the engine may change with it")
    if old and old.engine != release.engine:
        risks.append(
            f"model {model}: the engine changes from {old.engine} to {release.engine}: numbers in "
            "its answers may change"
        )
    return risks
