"""Random pairs of configurations: apply does what the plan says, and survives a kill at any step.

The desired states are made without archives, and the hosts are in memory, because there are
hundreds of them.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mms_server.archives.content_store import Content
from mms_server.core.errors import NoRoomError
from mms_server.deploy import apply as engine
from mms_server.deploy import release_groups
from mms_server.deploy.change_report import Outcome
from mms_server.deploy.desired_state import DesiredState
from mms_server.deploy.plan import ObservedState
from mms_server.host import live_links, warm_standby
from mms_server.host.release import Release
from mms_server.host.resource_profile import estimate_need
from tests.fixtures.fake_host import FakeHost, Killed

_FAST = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - random names below it
MB = 10**6
GROUP = "together"


@dataclass(frozen=True)
class Served:
    """One model of a configuration: its weights, workers, and the size of its archive in MB.

    ``grouped`` models share their processes.
    """

    weights: str
    workers: int
    size: int
    grouped: bool


@dataclass(frozen=True)
class Situation:
    """The state of a host before the second configuration; ``room`` is its free memory in MB."""

    room: int
    reserve: int
    keep_warm_s: int
    allow_gap: bool


Conf = Mapping[str, Served]
_SERVED = st.builds(
    Served,
    st.sampled_from("12"),
    st.sampled_from([1, 2]),
    st.sampled_from([0, 20, 60]),
    st.booleans(),
)
_CONFS = st.dictionaries(st.sampled_from("abcd"), _SERVED, min_size=1, max_size=3)
_SITUATIONS = st.builds(
    Situation,
    st.integers(0, 900),
    st.sampled_from([0, 100]),
    st.sampled_from([0, 60]),
    st.booleans(),
)


class RandomHost:
    """A host whose desired state is made without archives."""

    def __init__(self, root: Path) -> None:
        self.fake = FakeHost(root)
        self.fake.memory_bytes = 100_000 * MB

    def wanted(self, conf: Conf) -> DesiredState:
        releases, contents = {}, {}
        for model, served in conf.items():
            text = f"{model} {served.weights} {served.workers} {served.size}"
            digest = hashlib.sha256(text.encode()).hexdigest()
            entry = self.fake.layout.store / digest
            entry.mkdir(parents=True, exist_ok=True)
            (entry / "MANIFEST.json").touch()
            (entry / "tiny-0000.params").write_text(served.weights)
            release = Release(model, digest, served.workers, self.fake.settings.runtime)
            releases[model] = release
            with (entry / "more.params").open("wb") as stream:
                stream.truncate(served.size * MB)
            contents[model] = Content.of(entry)
        grouped = {model: GROUP for model, served in conf.items() if served.grouped}
        warm_s = dict.fromkeys([*conf, GROUP], self.fake.settings.keep_warm_s)
        wanted = DesiredState(
            Path("/mms.conf"),
            release_groups.joined(releases, grouped),
            "h",
            1,
            contents=contents,
            keep_warm_s=warm_s,
        )
        for name, release in wanted.named.items():
            # A loaded release uses as much as the rule says, or less; a model always uses the same.
            by_rule = estimate_need(release, wanted.archive_bytes(release), None).memory_bytes
            less = 50 * MB if name in "ac" else 0
            self.fake.supervisor.memory[release.id] = by_rule - less
        return wanted

    def apply(self, conf: Conf, *, allow_gap: bool = True) -> Outcome:
        made = self.wanted
        return engine._change(self.fake.host, "mms apply", lambda: made(conf), allow_gap=allow_gap)

    def plan(self, conf: Conf, *, allow_gap: bool = True) -> Outcome:
        return engine._make_plan(self.fake.host, self.wanted(conf), allow_gap=allow_gap)

    def used(self) -> int:
        return sum(map(self.fake.supervisor.used, self.fake.supervisor.units))

    def end(self) -> object:
        """Return everything in which two final states may differ."""
        fake = self.fake
        units = {name: state for name, state in fake.supervisor.units.items() if not state.gone}
        return (
            sorted((self._what(name), str(state)) for name, state in units.items()),
            {model: self._what(name) for model, name in live_links.read(fake.layout).items()},
            sorted(self._what(name) for name in warm_standby.read(fake.layout)),
        )

    def _what(self, name: str) -> tuple[list[str], int]:
        # The id depends on the path of this host's runtime.
        release = self.fake.host.release(name)
        assert release is not None
        return sorted(part.archive_sha256 for part in release.parts.values()), release.workers


def _in(directory: str, name: str, situation: Situation, before: Conf, between: Conf) -> RandomHost:
    host = RandomHost(Path(directory) / name)
    fake = host.fake
    fake.settings = replace(
        fake.settings,
        keep_warm_s=situation.keep_warm_s,
        memory_reserve=situation.reserve * MB,
    )
    host.apply(before)
    host.apply(between)
    fake.memory_bytes = host.used() + (situation.room + situation.reserve) * MB
    fake.supervisor.most = 0
    fake.supervisor.acts.clear()
    fake.clockwork.events.clear()
    return host


def _acts(planned: Outcome, seen: ObservedState) -> set[str]:
    """Return the actions of systemd in a plan."""
    costs = planned.forecast
    if costs is None:
        return set()
    acts: set[str] = set()
    ids = {str(row.release) for row in planned.actions if row.release}
    for name in costs.starts:
        release = next(each for each in ids if each.rpartition(".")[0] == name)
        previous = {row.previous for row in planned.actions if row.release == release}
        ends = set(planned.leftovers) - set(costs.evicted)
        replaced = any(each in previous or each.rpartition(".")[0] == name for each in ends)
        restarts = name in costs.gap and replaced
        acts |= {f"open {release}", f"{'restart' if restarts else 'start'} {release}"}
    acts |= {f"enable {name}" for name in ids if not seen.state(name).enabled}
    for name in {*planned.leftovers, *costs.evicted}:
        acts |= {f"disable {name}"} if seen.state(name).boots else set()
        acts |= {f"stop {name}"} if name not in planned.keep_warm else set()
    return acts


def _check_one(host: RandomHost, after: Conf, situation: Situation) -> tuple[int, bool]:
    """Plan and apply; return the number of events (0: refused), and whether there is a gap."""
    fake, allow_gap = host.fake, situation.allow_gap
    planned, used = host.plan(after, allow_gap=allow_gap), host.used()
    assert fake.supervisor.acts == []
    seen, before = fake.host.observe({}), host.end()
    fake.clockwork.events.clear()
    if planned.forecast:
        costs = planned.forecast
        event(f"gap {bool(costs.gap)}, evicted {bool(costs.evicted)}")
    event(f"refused {bool(planned.refusal)}, keeps warm {bool(planned.keep_warm)}")
    if planned.refusal:
        with pytest.raises(NoRoomError):
            host.apply(after, allow_gap=allow_gap)
        assert fake.supervisor.acts == []
        assert host.end() == before
        return 0, False
    ids = {row.model: str(row.release) for row in planned.actions}
    outcome = host.apply(after, allow_gap=allow_gap)
    events = len(fake.clockwork.events)
    assert outcome.actions == planned.actions
    assert outcome.forecast == planned.forecast
    assert set(fake.supervisor.acts) == _acts(planned, seen)
    waited = {ids[model].rpartition(".")[0] for model in outcome.gap_s}
    assert waited <= set(planned.forecast.gap if planned.forecast else ())
    assert fake.supervisor.most <= max(used, fake.memory_bytes - fake.settings.memory_reserve)
    if planned.forecast:
        assert fake.supervisor.most <= planned.forecast.memory.during
    fake.check_settled({model: served.weights for model, served in after.items()})
    fake.supervisor.acts.clear()
    assert not host.apply(after, allow_gap=allow_gap).changed
    assert fake.supervisor.acts == []
    return events, bool(planned.forecast and planned.forecast.gap)


@pytest.mark.slow
@pytest.mark.timeout(600)
@given(
    before=_CONFS,
    between=_CONFS,
    after=_CONFS,
    situation=_SITUATIONS,
    kill=st.none() | st.floats(0, 0.999),
)
@hypothesis_settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_plan_and_apply_agree_and_a_kill_changes_nothing(
    before: Conf, between: Conf, after: Conf, situation: Situation, kill: float | None
) -> None:
    with tempfile.TemporaryDirectory(dir=_FAST) as directory:
        host = _in(directory, "one", situation, before, between)
        events, gap = _check_one(host, after, situation)
        if not events or kill is None:
            return
        other = _in(directory, "two", situation, before, between)
        other.fake.clockwork.kill_at = int(kill * events)
        with pytest.raises(Killed):
            other.apply(after, allow_gap=situation.allow_gap)
        other.fake.clockwork.kill_at = None
        other.apply(after, allow_gap=situation.allow_gap)
        other.fake.check_settled({model: served.weights for model, served in after.items()})
        if not gap:
            # After a kill in a gap, a release may stay warm that had to end without the kill.
            assert other.end() == host.end()
