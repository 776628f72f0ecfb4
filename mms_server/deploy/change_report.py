"""What a change of a host does, or would do: for people, for programs and for a diff."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mms_server.core.errors import NoRoomError
from mms_server.core.formatting import size
from mms_server.deploy.capacity import Facts, Forecast, forecast
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
from mms_server.host.systemd import Usage

_SHORT: dict[str, int] = {"archive_sha256": 12, "golden": 12}


@dataclass(frozen=True)
class Change:
    """One setting of a model, before and after; empty for none."""

    name: str
    before: str
    after: str


@dataclass(frozen=True)
class Outcome:
    """What was done, or would be; ``before`` and ``after`` are texts for a diff.

    ``changes`` are by model, ``keep_warm`` is by release in seconds, ``gap_s`` by model how long
    requests waited in the end. ``forecast`` is None when there is nothing to do; ``refusal`` says
    why the change must not be begun, ``command`` what does it.
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


def gather(host: Host, wanted: DesiredState, observed: ObservedState) -> Facts:
    """Measure the host and what is loaded on it; work out what is wanted.

    Raises:
        SupervisorError: systemd cannot be asked.
    """
    memory = host.memory()
    there = [name for name, state in observed.states.items() if not state.gone]
    usage = host.supervisor.usage(there)
    needs = {
        release.id: expected(
            host,
            release,
            wanted.archive_bytes(release),
            # Of a group, one that was a group too: what its models needed alone says little.
            next((each for each in observed.models.values() if model_of(each) == name), None),
            usage,
        )
        for name, release in wanted.named.items()
    }
    loaded = {name: found.memory_bytes or 0 for name, found in usage.items()}
    reserve = host.settings.memory_reserve
    return Facts(memory.total, memory.available, reserve, needs, loaded)


def expected(
    host: Host,
    release: Release,
    archive_bytes: int,
    replaces: str | None,
    usage: Mapping[str, Usage],
) -> ResourceNeed:
    """Return what a release needs, by what is known of it and of the one that it replaces.

    ``usage`` is that of the loaded releases, of which ``replaces`` is one if it is given.
    """
    seen = read(host.layout.measured_file(release.id))
    return estimate_need(release, archive_bytes, seen, _known(host, replaces, usage))


def _known(host: Host, name: str | None, usage: Mapping[str, Usage]) -> MeasuredRelease | None:
    """Return what is known of the release that serves a model now; it may have grown since."""
    release = host.release(name) if name else None
    if name is None or release is None:
        return None
    archives = [part.archive_sha256 for part in release.parts.values()]
    if not all(map(host.store.has, archives)):
        return None
    seen, now = read(host.layout.measured_file(name)), usage.get(name, Usage())
    if seen is None:
        return None
    memory = max(seen.memory_bytes, now.memory_bytes or 0)
    peak = max(seen.peak_bytes, now.peak_bytes or 0, memory)
    size_bytes = sum(host.store.content(each).size_bytes for each in archives)
    return MeasuredRelease(release, size_bytes, ResourceProfile(memory, peak, seen.ready_s))


def outcome_of(
    host: Host, wanted: DesiredState, observed: ObservedState, decided: Plan, *, allow_gap: bool
) -> Outcome:
    """Return what ``decided`` does to the host.

    Raises:
        SupervisorError: systemd cannot be asked.
    """
    known = {model: host.release(name) for model, name in observed.models.items()}
    repairs = {row.model: ", ".join(row.repairs) for row in decided.actions}
    before = {
        model: (name, known[model], repairs.get(model, ""))
        for model, name in observed.models.items()
    }
    after = {model: (row.id, row, "") for model, row in wanted.releases.items()}
    leftovers = "".join(
        f"leftover: {name}\n" for name in decided.leftovers if name not in observed.models.values()
    )
    costs = None
    if decided.changed:
        costs = forecast(decided, observed, gather(host, wanted, observed))
    return Outcome(
        changed=decided.changed,
        generation=observed.generation.number if observed.generation else None,
        actions=decided.actions,
        leftovers=decided.leftovers,
        before=as_text(before) + leftovers,
        after=as_text(after),
        warnings=wanted.warnings,
        changes={
            model: differences(model, old, wanted.releases[model])
            for model, old in known.items()
            if old and model in wanted.releases and old != wanted.releases[model]
        },
        keep_warm={} if costs and costs.gap else decided.keep_warm,
        forecast=costs,
        risks=_risks(wanted, known, costs) if costs else (),
        refusal=costs.refusal(allow_gap=allow_gap) if costs else None,
    )


def differences(model: str, before: Release, after: Release) -> tuple[Change, ...]:
    """Return which settings of a model are others than before."""
    old, new = _flat(model, before), _flat(model, after)
    names = [*old, *(name for name in new if name not in old)]
    return tuple(
        Change(name, old.get(name, ""), new.get(name, ""))
        for name in names
        if old.get(name, "") != new.get(name, "")
    )


def _flat(model: str, release: Release) -> dict[str, str]:
    found: dict[str, str] = {}
    part = release.parts.get(model)
    own = vars(release) | (vars(part) if part else {})
    own |= {"group": release.model if release.group else ""}
    for name, value in own.items():
        if name == "model":
            continue
        if isinstance(value, Mapping):
            found.update({key: str(each) for key, each in value.items()})
        elif isinstance(value, tuple):
            found[name] = " ".join(map(str, value))
        elif hasattr(value, "__dict__"):
            found.update({f"{name}.{key}": str(each) for key, each in vars(value).items()})
        else:
            found[name] = "" if value is None else str(value)[: _SHORT.get(name)]
    return found


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
                f"group {name}: its {len(release.group)} models share processes: what ends one "
                "ends the others, and a change of one is a change of all"
            )
        if not needs.measured:
            what = f"{'group' if release.group else 'model'} {name}"
            risks.append(f"{what}: never loaded on this host: memory and seconds are estimates")
    for model in costs.gap:
        seconds = costs.starts[model].ready_s
        risks.append(
            f"model {model}: no room beside what is loaded, {size(costs.short_bytes)} short: "
            f"a gap of about {seconds:.0f} s, in which requests wait"
        )
    risks += [f"release {name}, kept warm or left over, ends first" for name in costs.evicted]
    return tuple(risks)


def _risks_of(model: str, release: Release, old: Release | None) -> list[str]:
    """Return what may go otherwise because another release served a model before."""
    risks = []
    if old and old.runtime != release.runtime:
        risks.append(f"model {model}: the runtime changes, and perhaps the engine with it")
    if old and old.engine != release.engine:
        risks.append(
            f"model {model}: the engine changes from {old.engine} to {release.engine}: numbers in "
            "its answers may move"
        )
    return risks
