"""The capacity forecast of a change: memory, seconds, and whether it is possible. A pure function.

New releases get ready beside the releases that they replace, if memory suffices. If it does not,
warm releases end first. A release that does not fit even then is started after the end of the
release that it replaces. That is a gap, in which requests wait. Of several such releases, those
that need less memory than they free go first. So every step fits if the final state does.
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
class Capacity:
    """The memory of a host; by release id, the needs of wanted releases and the bytes of loaded.

    ``reserve_bytes`` must stay free.
    """

    total_bytes: int
    available_bytes: int
    reserve_bytes: int
    needs: Mapping[str, ResourceNeed]
    loaded: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class MemoryForecast:
    """The bytes in use on the host: before the change, at most during it, and after it."""

    total: int
    reserve: int
    before: int
    during: int
    after: int


@dataclass(frozen=True)
class Forecast:
    """The cost of a plan.

    ``starts``: the needs of the releases that have to be loaded, by name of model or group.
    ``evicted``: the releases that end before a release is started, to free memory.
    ``gap``: the models and groups that have no loaded release for some time, in their order.
    ``short_bytes``: the memory that is missing to load those of the gap beside the old releases.
    ``lacking_bytes``: the memory that is missing even after the end of all replaced releases.
    ``from_one_release``: whether several of the gap replace the same release, which ends only once.
    """

    memory: MemoryForecast
    seconds: float
    starts: Mapping[str, ResourceNeed]
    evicted: tuple[str, ...] = ()
    gap: tuple[str, ...] = ()
    short_bytes: int = 0
    lacking_bytes: int = 0
    from_one_release: bool = False

    def refusal(self, *, allow_gap: bool) -> NoRoomError | None:
        """Return why the change is refused; None if it is possible."""
        models = list(self.starts)
        if self.lacking_bytes:
            return NoRoomError(
                models,
                self.lacking_bytes,
                f"{size(self.lacking_bytes)} of memory are missing, even after everything that is "
                f"replaced has ended; {size(self.memory.reserve)} must stay free. Nothing was "
                "touched.",
                fix="use fewer workers, serve fewer models, take a larger host, or lower "
                "memory_reserve, which must stay free.",
            )
        if self.from_one_release:
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
        """Return the longest time, in seconds, for which requests of a model probably wait."""
        return max((self.starts[model].ready_s for model in self.gap), default=0.0)


def forecast(plan: Plan, observed: ObservedState, capacity: Capacity) -> Forecast:
    """Return the cost of ``plan`` on a host in the state ``observed``."""
    starting = {
        model: release for model, release in plan.to_start() if not observed.state(release).up
    }
    added = {
        model: max(0, capacity.needs[release].peak_bytes - capacity.loaded.get(release, 0))
        for model, release in starting.items()
    }
    free = capacity.available_bytes - capacity.reserve_bytes
    evicted = _choose_evicted(plan, observed, capacity, sum(added.values()) - free)
    free += sum(capacity.loaded[release] for release in evicted)
    beside, gap = _split_by_memory(added, free)
    free -= sum(added[model] for model in beside)
    freed = _freed_bytes(plan, evicted, capacity, {name: starting[name] for name in gap})
    gap.sort(key=lambda model: added[model] > freed.get(model, 0))
    free_after = free + sum(freed.values()) - sum(added[model] for model in gap)
    before = capacity.total_bytes - capacity.available_bytes
    after = before - sum(capacity.loaded[name] for name in evicted) - sum(freed.values())
    for release in starting.values():
        after += max(0, capacity.needs[release].memory_bytes - capacity.loaded.get(release, 0))
    during = max(before, _peak_bytes(capacity, added, evicted, gap, freed))
    return Forecast(
        MemoryForecast(capacity.total_bytes, capacity.reserve_bytes, before, during, after),
        sum(capacity.needs[release].ready_s for release in starting.values()),
        {model: capacity.needs[release] for model, release in starting.items()},
        tuple(evicted),
        tuple(gap),
        max(0, sum(added[model] for model in gap) - free) if gap else 0,
        max(0, -free_after) if gap else 0,
        _replace_the_same(plan, [starting[name] for name in gap]),
    )


def _replace_the_same(plan: Plan, releases: Sequence[str]) -> bool:
    replaced = [old for release in releases for old in plan.replaced_by(release)]
    return len(replaced) > len(set(replaced))


def _choose_evicted(
    plan: Plan, observed: ObservedState, capacity: Capacity, missing: int
) -> list[str]:
    """Return the releases that end first to free ``missing`` bytes.

    First come leftovers that do not serve, then warm releases, by the end of their time as warm.
    """
    serving = {*observed.models.values(), *observed.links.values()}
    wanted = {action.release for action in plan.actions}
    idle = [name for name in plan.leftovers if name not in serving]
    warm = sorted(
        (name for name in observed.warm if observed.is_warm(name) and name not in wanted),
        key=lambda name: (observed.warm[name], name),
    )
    evicted = []
    for name in (*idle, *warm):
        if missing <= 0:
            break
        if capacity.loaded.get(name, 0) and name not in serving:
            evicted.append(name)
            missing -= capacity.loaded[name]
    return evicted


def _split_by_memory(added: Mapping[str, int], free: int) -> tuple[list[str], list[str]]:
    """Return the names that fit into ``free`` bytes beside the old releases, and the others."""
    beside, gap = list[str](), list[str]()
    for model, needed in added.items():
        # A release that needs no more than it uses already always fits.
        if needed <= max(free, 0):
            free -= needed
            beside.append(model)
        else:
            gap.append(model)
    return beside, gap


def _freed_bytes(
    plan: Plan, evicted: Sequence[str], capacity: Capacity, gap: Mapping[str, str]
) -> dict[str, int]:
    """Return the bytes that leftovers free at their end, by the name that replaces them.

    ``gap`` maps names to the releases that start after the end of a leftover.
    """
    freed: dict[str, int] = {}
    for old in plan.leftovers:
        if old not in evicted:
            replacing = (name for name, release in gap.items() if old in plan.replaced_by(release))
            name = next(replacing, model_of(old))
            freed[name] = freed.get(name, 0) + capacity.loaded.get(old, 0)
    return freed


def _peak_bytes(
    capacity: Capacity,
    added: Mapping[str, int],
    evicted: Sequence[str],
    gap: Sequence[str],
    freed: Mapping[str, int],
) -> int:
    """Return the most bytes that are in use after the end of the evicted releases."""
    used = capacity.total_bytes - capacity.available_bytes
    used -= sum(capacity.loaded[name] for name in evicted)
    used += sum(needed for model, needed in added.items() if model not in gap)
    peak = used
    if gap:
        used -= sum(amount for model, amount in freed.items() if model not in gap)
    for model in gap:
        used += added[model] - freed.get(model, 0)
        peak = max(peak, used)
    return peak
