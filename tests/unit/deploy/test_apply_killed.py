"""Apply: after a kill at any step, the next apply reaches the same final state."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mms_server.core.errors import ReleaseFailedError
from mms_server.deploy.apply import apply, plan, rollback
from mms_server.host import generations, live_links
from mms_server.host.supervisor import UnitState
from tests.fixtures.fake_host import FakeHost, Killed

# In memory if possible: the tests make hundreds of hosts, and each write is fsynced.
_FAST = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - random names below it


def _set_up(root: Path, before: dict[str, str]) -> FakeHost:
    fake = FakeHost(root)
    if before:
        apply(fake.host, fake.write_conf(before))
    fake.clockwork.events.clear()
    return fake


def _killed_everywhere(before: dict[str, str], after: dict[str, str]) -> int:
    """Kill an apply at its first event, its second ...; after each, check and apply again."""
    count = 0
    while True:
        with tempfile.TemporaryDirectory(dir=_FAST) as directory:
            fake = _set_up(Path(directory), before)
            conf = fake.write_conf(after)
            fake.clockwork.kill_at = count
            try:
                apply(fake.host, conf)
            except Killed:
                pass
            else:
                return count
            _check_one_kill(fake, before, after)
            count += 1


def _check_one_kill(fake: FakeHost, before: dict[str, str], after: dict[str, str]) -> None:
    fake.check_links()
    served = fake.served()
    for model in before.keys() & after.keys():
        assert served[model] in (before[model], after[model])
    generation = generations.newest(fake.layout)
    for release in generation.models.values() if generation else ():
        assert fake.supervisor.units[release].up, "a boot would find its releases"
    fake.clockwork.kill_at = None
    apply(fake.host, fake.root / "efs/mms.conf")
    fake.check_settled(after)
    assert not apply(fake.host, fake.root / "efs/mms.conf").changed


def test_killed_at_every_step_it_reaches_the_same_end() -> None:
    steps = _killed_everywhere({"a": "1", "b": "1", "c": "1"}, {"a": "2", "b": "1", "d": "2"})
    assert steps > 25


MB = 10**6


def _small(root: Path) -> FakeHost:
    """Return a host that serves ``a`` and ``b``, without memory for a third release."""
    fake = FakeHost(root)
    fake.supervisor.memory = dict.fromkeys("abc", 180 * MB)
    fake.memory_bytes = 500 * MB
    apply(fake.host, fake.write_conf({"a": "1", "b": "1"}))
    fake.clockwork.events.clear()
    return fake


def _check_gap(fake: FakeHost) -> None:
    """Assert that each link points at an open socket, and that a boot is safe."""
    for model, release in live_links.read(fake.layout).items():
        state = fake.supervisor.units.get(release, UnitState())
        assert state.socket == "active", f"{model} -> {release}, which is {state}"
    generation = generations.newest(fake.layout)
    assert generation is not None
    assert fake.supervisor.most <= fake.memory_bytes


@pytest.mark.parametrize("wanted_then", [{"a": "2", "c": "1"}, {"a": "1", "b": "1"}])
def test_killed_in_a_gap_it_reaches_the_same_end(wanted_then: dict[str, str]) -> None:
    """``wanted_then``: the models of the next apply, the same again or those from before."""
    steps = 0
    while True:
        with tempfile.TemporaryDirectory(dir=_FAST) as directory:
            fake = _small(Path(directory))
            conf = fake.write_conf({"a": "2", "c": "1"})
            fake.clockwork.kill_at = steps
            try:
                apply(fake.host, conf, allow_gap=True)
            except Killed:
                _check_gap(fake)
            else:
                break
            fake.clockwork.kill_at = None
            apply(fake.host, fake.write_conf(wanted_then), allow_gap=True)
            _check_gap(fake)
            fake.check_settled(wanted_then)
            assert not apply(fake.host, conf, allow_gap=True).changed
            steps += 1
    assert steps > 30


def test_killed_in_the_revert_of_a_gap_it_still_recovers() -> None:
    steps = 0
    while True:
        with tempfile.TemporaryDirectory(dir=_FAST) as directory:
            fake = _small(Path(directory))
            conf = fake.write_conf({"a": "2", "b": "1"})
            fake.mute = {"a"}
            fake.clockwork.kill_at = steps
            try:
                apply(fake.host, conf, allow_gap=True)
            except ReleaseFailedError:
                fake.check_settled({"a": "1", "b": "1"})
                break
            except Killed:
                _check_gap(fake)
            fake.clockwork.kill_at, fake.mute = None, set()
            conf = fake.write_conf({"a": "1", "b": "1"})
            apply(fake.host, conf, allow_gap=True)
            fake.check_settled({"a": "1", "b": "1"})
            steps += 1
    assert steps > 25


def test_a_rollback_killed_at_every_step_reaches_the_same_end() -> None:
    steps = 0
    while True:
        with tempfile.TemporaryDirectory(dir=_FAST) as directory:
            fake = FakeHost(Path(directory))
            fake.settings = replace(fake.settings, keep_generations=5, keep_warm_s=300)
            apply(fake.host, fake.write_conf({"a": "1", "b": "1"}))
            apply(fake.host, fake.write_conf({"a": "2", "c": "1"}))
            fake.clockwork.events.clear()
            fake.clockwork.kill_at = steps
            try:
                rollback(fake.host, 1)
            except Killed:
                fake.check_links()
            else:
                break
            fake.clockwork.kill_at = None
            rollback(fake.host, 1)
            fake.check_settled({"a": "1", "b": "1"})
            assert len(live_links.read(fake.layout)) == 2
            assert not rollback(fake.host, 1).changed
            steps += 1
    assert steps > 15


def test_killed_in_the_revert_it_still_recovers() -> None:
    with tempfile.TemporaryDirectory(dir=_FAST) as directory:
        counts = [count for count in range(40) if _killed_in_a_failing_apply(directory, count)]
    assert len(counts) > 15


def _killed_in_a_failing_apply(directory: str, count: int) -> bool:
    fake = _set_up(Path(directory) / str(count), {"a": "1", "b": "1"})
    conf = fake.write_conf({"a": "2", "b": "2"})
    fake.supervisor.broken = {"b"}
    fake.clockwork.kill_at = count
    try:
        apply(fake.host, conf)
    except ReleaseFailedError:
        return False
    except Killed:
        fake.check_links()
        assert fake.served() == {"a": "1", "b": "1"}
    fake.clockwork.kill_at = None
    fake.supervisor.broken = set()
    apply(fake.host, fake.write_conf({"a": "1", "b": "1"}))
    fake.check_settled({"a": "1", "b": "1"})
    return True


_MODELS = st.dictionaries(st.sampled_from("abc"), st.sampled_from("12"), min_size=1)


@given(before=_MODELS, middle=_MODELS, after=_MODELS, kill_at=st.integers(0, 60), data=st.data())
@hypothesis_settings(max_examples=40, deadline=None)
def test_random_configurations_killed_anywhere(
    before: dict[str, str],
    middle: dict[str, str],
    after: dict[str, str],
    kill_at: int,
    data: st.DataObject,
) -> None:
    with tempfile.TemporaryDirectory(dir=_FAST) as directory:
        fake = _set_up(Path(directory), before)
        conf = fake.write_conf(middle)
        fake.clockwork.kill_at = kill_at
        fake.supervisor.broken = data.draw(st.sets(st.sampled_from("abc"), max_size=1))
        try:
            apply(fake.host, conf)
        except (Killed, ReleaseFailedError):
            fake.check_links()
        fake.clockwork.kill_at = None
        fake.supervisor.broken = set()
        fake.write_conf(after)
        planned = plan(fake.host, conf)
        outcome = apply(fake.host, conf)
        assert (planned.changed, planned.actions) == (outcome.changed, outcome.actions)
        fake.check_settled(after)
        assert not apply(fake.host, conf).changed
