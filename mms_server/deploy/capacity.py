"""What a change will cost a host: memory, seconds, and whether it can be done at all. Pure.

Releases get ready beside those they replace, if memory allows. If not, what is only kept warm ends
first. What does not fit even then is started after the release that it replaces has ended: a gap,
in which requests wait. Of several, those that need less than they free go first: so every step fits
if the end does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mms_server.core.errors import NoRoomError
from mms_server.core.formatting import size
from mms_server.deploy.plan import ObservedState, Plan
from mms_server.host.release import model_of
from mms_server.host.resource_profile import ResourceNeed


@dataclass(frozen=True)
class Facts:
    """Bytes of the host, what wanted releases need and what loaded ones use, by release id."""

    total_bytes: int
    available_bytes: int
    reserve_bytes: int
    needs: Mapping[str, ResourceNeed]
    loaded: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Memory:
    """Bytes in use on the host: now, at most during the change, and once all of it is done."""

    total: int
    reserve: int
    before: int
    during: int
    after: int


@dataclass(frozen=True)
class Forecast:
    """What a plan costs.

    ``starts`` are the releases that have to be loaded, by name; ``evicted`` end before anything
    is started. ``gap`` are the models that are without a loaded release for a while, in the order
    in which they change; ``short_bytes`` is what the others leave them too little of, and
    ``lacking_bytes`` what is missing even when everything replaced has ended. ``tangled`` is
    whether several of them come out of one release, which can end only once.
    """

    memory: Memory
    seconds: float
    starts: Mapping[str, ResourceNeed]
    evicted: tuple[str, ...] = ()
    gap: tuple[str, ...] = ()
    short_bytes: int = 0
    lacking_bytes: int = 0
    tangled: bool = False

    def refusal(self, *, allow_gap: bool) -> NoRoomError | None:
        """Return why the change must not be begun, None if it may."""
        models = list(self.starts)
        if self.lacking_bytes:
            return NoRoomError(
                models,
                self.lacking_bytes,
                f"{size(self.lacking_bytes)} of memory are missing, even after everything that is "
                f"replaced has ended; {size(self.memory.reserve)} must stay free. Nothing was "
                "touched.",
                fix="use fewer workers, serve fewer models, or take a larger host "
                "(memory_reserve is what must stay free).",
            )
        if self.tangled:
            return NoRoomError(
                self.gap,
                self.short_bytes,
                "they come out of one group, and do not fit beside it: "
                f"{size(self.short_bytes)} of memory are missing. Nothing was touched.",
                fix="take them out of the group one after the other, or unload a model first.",
            )
        if self.gap and not allow_gap:
            return NoRoomError(
                self.gap,
                self.short_bytes,
                f"it does not fit beside what is loaded: {size(self.short_bytes)} of memory are "
                "missing. Nothing was touched.",
                fix="use --allow-gap (setting allow_gap): the old release ends first and requests "
                f"wait about {self.gap_s:.0f} s; or use fewer workers.",
            )
        return None

    @property
    def gap_s(self) -> float:
        """Return the longest time for which a model's requests are expected to wait."""
        return max((self.starts[model].ready_s for model in self.gap), default=0.0)


def forecast(plan: Plan, observed: ObservedState, facts: Facts) -> Forecast:
    """Return what ``plan`` costs a host that is as ``observed``."""
    starting = {
        model: release for model, release in plan.to_start() if not observed.state(release).up
    }
    wants = {
        model: max(0, facts.needs[release].peak_bytes - facts.loaded.get(release, 0))
        for model, release in starting.items()
    }
    room = facts.available_bytes - facts.reserve_bytes
    evicted = _evicted(plan, observed, facts, sum(wants.values()) - room)
    room += sum(facts.loaded[release] for release in evicted)
    beside, gap = _split(wants, room)
    room -= sum(wants[model] for model in beside)
    freed = _freed(plan, evicted, facts, {name: starting[name] for name in gap})
    gap.sort(key=lambda model: wants[model] > freed.get(model, 0))
    at_end = room + sum(freed.values()) - sum(wants[model] for model in gap)
    before = facts.total_bytes - facts.available_bytes
    settled = before - sum(facts.loaded[name] for name in evicted) - sum(freed.values())
    for release in starting.values():
        settled += max(0, facts.needs[release].memory_bytes - facts.loaded.get(release, 0))
    during = max(before, _most(facts, wants, evicted, gap, freed))
    memory = Memory(facts.total_bytes, facts.reserve_bytes, before, during, settled)
    return Forecast(
        memory,
        sum(facts.needs[release].ready_s for release in starting.values()),
        {model: facts.needs[release] for model, release in starting.items()},
        tuple(evicted),
        tuple(gap),
        max(0, sum(wants[model] for model in gap) - room) if gap else 0,
        max(0, -at_end) if gap else 0,
        _tangled(plan, [starting[name] for name in gap]),
    )


def _tangled(plan: Plan, releases: Sequence[str]) -> bool:
    replaced = [each for release in releases for each in plan.replaced_by(release)]
    return len(replaced) > len(set(replaced))


def _evicted(plan: Plan, observed: ObservedState, facts: Facts, missing: int) -> list[str]:
    """Return what ends first: what never served, then what is kept warm, the oldest first."""
    serving = {*observed.models.values(), *observed.links.values()}
    wanted = {action.release for action in plan.actions}
    strays = [name for name in plan.leftovers if name not in serving]
    warm = sorted(
        (name for name in observed.warm if observed.is_warm(name) and name not in wanted),
        key=lambda name: (observed.warm[name], name),
    )
    evicted = []
    for name in (*strays, *warm):
        if missing <= 0:
            break
        if facts.loaded.get(name, 0) and name not in serving:
            evicted.append(name)
            missing -= facts.loaded[name]
    return evicted


def _split(wants: Mapping[str, int], room: int) -> tuple[list[str], list[str]]:
    beside, gap = list[str](), list[str]()
    for model, wanted in wants.items():
        # One that needs no more than it has already is no question of room.
        if wanted <= max(room, 0):
            room -= wanted
            beside.append(model)
        else:
            gap.append(model)
    return beside, gap


def _freed(
    plan: Plan, evicted: Sequence[str], facts: Facts, gap: Mapping[str, str]
) -> dict[str, int]:
    """Return what comes free when what is replaced or unloaded ends, by name of what replaces it.

    ``gap`` are the releases, by name, for which something ends first.
    """
    freed: dict[str, int] = {}
    for old in plan.leftovers:
        if old not in evicted:
            takes = (name for name, release in gap.items() if old in plan.replaced_by(release))
            name = next(takes, model_of(old))
            freed[name] = freed.get(name, 0) + facts.loaded.get(old, 0)
    return freed


def _most(
    facts: Facts,
    wants: Mapping[str, int],
    evicted: Sequence[str],
    gap: Sequence[str],
    freed: Mapping[str, int],
) -> int:
    """Return the most bytes that are in use once what is evicted has ended."""
    level = facts.total_bytes - facts.available_bytes
    level -= sum(facts.loaded[name] for name in evicted)
    level += sum(wanted for model, wanted in wants.items() if model not in gap)
    most = level
    if gap:
        level -= sum(amount for model, amount in freed.items() if model not in gap)
    for model in gap:
        level += wants[model] - freed.get(model, 0)
        most = max(most, level)
    return most
