"""Changes with a gap, on hosts without memory for two releases at a time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mms_server.core.errors import NoRoomError, ReleaseFailedError
from mms_server.deploy.apply import apply, plan, rollback
from mms_server.host import generations, live_links
from mms_server.host.supervisor import UnitState
from tests.fixtures.fake_host import FakeHost

MB = 10**6


@pytest.fixture
def small(fake: FakeHost) -> FakeHost:
    """A host that serves ``a`` and ``b``, without memory for another release."""
    fake.supervisor.memory = {"a": 180 * MB, "b": 180 * MB, "c": 180 * MB}
    fake.memory_bytes = 500 * MB
    apply(fake.host, fake.write_conf({"a": "1", "b": "1"}))
    fake.clockwork.events.clear()
    fake.supervisor.acts.clear()
    return fake


def test_without_permission_for_a_gap_nothing_changes(small: FakeHost) -> None:
    conf = small.write_conf({"a": "2", "b": "1"})
    outcome = plan(small.host, conf)
    assert isinstance(outcome.refusal, NoRoomError)
    assert outcome.refusal.models == ("a",)
    assert any("a gap of about 0 s" in text for text in outcome.risks)
    with pytest.raises(NoRoomError, match="model a: it does not fit beside"):
        apply(small.host, conf)
    assert small.supervisor.acts == []
    small.check_settled({"a": "1", "b": "1"})


def test_requests_wait_in_the_new_socket_while_the_old_release_ends(small: FakeHost) -> None:
    old = live_links.read(small.layout)["a"]
    small.supervisor.most = 0
    outcome = apply(small.host, small.write_conf({"a": "2", "b": "1"}), allow_gap=True)
    new = live_links.read(small.layout)["a"]
    order = [
        f"after open {new}",
        "model a: switch the link",
        f"probe {old}",
        f"after stop {old}",
        f"after restart {new}",
        f"probe {new}",
        "model a, b: write generation 2",
        f"after enable {new}",
        f"after disable {old}",
    ]
    assert [event for event in small.clockwork.events if event in order] == order
    assert list(outcome.gap_s) == ["a"]
    assert outcome.refusal is None
    assert small.supervisor.most <= small.memory_bytes
    small.check_settled({"a": "2", "b": "1"})
    assert not apply(small.host, small.root / "efs/mms.conf").changed


def test_the_setting_allow_gap_is_permission_too(small: FakeHost) -> None:
    small.settings = replace(small.settings, allow_gap=True)
    conf = small.write_conf({"a": "2", "b": "1"})
    assert plan(small.host, conf).refusal is None
    apply(small.host, conf)
    small.check_settled({"a": "2", "b": "1"})


def test_several_with_a_gap_are_one_transaction(small: FakeHost) -> None:
    small.supervisor.most = 0
    outcome = apply(small.host, small.write_conf({"a": "2", "c": "1"}), allow_gap=True)
    assert outcome.forecast is not None
    assert outcome.forecast.gap == ("a", "c")
    assert list(outcome.gap_s) == ["a"], "nobody waited for a model that was not there"
    assert small.supervisor.most <= small.memory_bytes
    small.check_settled({"a": "2", "c": "1"})


@pytest.mark.parametrize("broken", ["a", "b", "c"])
def test_a_failure_in_a_gap_is_reverted(small: FakeHost, broken: str) -> None:
    before = live_links.read(small.layout)
    conf = small.write_conf({"a": "2", "b": "2", "c": "1"})
    small.memory_bytes = 700 * MB
    small.supervisor.most = 0
    new = {row.model: str(row.release) for row in plan(small.host, conf).actions}
    small.supervisor.broken = {new[broken]}
    with pytest.raises(ReleaseFailedError) as caught:
        apply(small.host, conf, allow_gap=True)
    assert caught.value.model == broken
    assert live_links.read(small.layout) == before
    assert small.supervisor.most <= small.memory_bytes
    small.check_settled({"a": "1", "b": "1"})


def test_the_revert_opens_the_old_socket_before_the_new_one_closes(small: FakeHost) -> None:
    old = live_links.read(small.layout)["a"]
    conf = small.write_conf({"a": "2", "b": "1"})
    small.mute = {"a"}
    with pytest.raises(ReleaseFailedError, match="step ask for a first answer"):
        apply(small.host, conf, allow_gap=True)
    events = small.clockwork.events
    (new,) = {act.split()[1] for act in small.supervisor.acts} - {old}
    opened = events.index(f"after open {old}")
    back = events.index(f"model a: restore the link to {old}")
    closed = events.index(f"after stop {new}")
    again = events.index(f"after restart {old}")
    assert opened < back < closed < again


def test_warm_releases_end_to_free_memory(small: FakeHost) -> None:
    small.settings = replace(small.settings, keep_warm_s=300)
    small.memory_bytes = 560 * MB
    old = live_links.read(small.layout)["a"]
    apply(small.host, small.write_conf({"a": "2", "b": "1"}))
    assert old in small.serving()
    small.memory_bytes = 700 * MB
    conf = small.write_conf({"a": "2", "b": "2"})
    outcome = plan(small.host, conf)
    assert outcome.forecast is not None
    assert (outcome.forecast.evicted, outcome.forecast.gap) == ((old,), ())
    assert any(old in text for text in outcome.risks)
    apply(small.host, conf)
    assert small.supervisor.units[old].gone
    small.check_settled({"a": "2", "b": "2"})


def test_a_rollback_with_a_gap(small: FakeHost) -> None:
    apply(small.host, small.write_conf({"a": "2", "b": "1"}), allow_gap=True)
    with pytest.raises(NoRoomError):
        rollback(small.host, None)
    rollback(small.host, None, allow_gap=True)
    small.check_settled({"a": "1", "b": "1"})


def test_a_release_that_does_not_fit_alone_is_refused(small: FakeHost) -> None:
    small.memory_bytes = 370 * MB
    before = generations.numbers(small.layout)
    with pytest.raises(NoRoomError, match="even after everything"):
        apply(small.host, small.write_conf({"a": "2", "b": "2", "c": "2"}), allow_gap=True)
    assert generations.numbers(small.layout) == before
    small.check_settled({"a": "1", "b": "1"})


def test_a_release_that_waits_at_its_barrier_is_restarted(small: FakeHost) -> None:
    """The state is that after a kill in the gap, when the old release had ended."""
    conf = small.write_conf({"a": "2", "b": "1"})
    old = live_links.read(small.layout)["a"]
    (new,) = [row.release for row in plan(small.host, conf).actions if row.model == "a"]
    assert new is not None
    small.supervisor.stop(old, 1)
    small.supervisor.units[new] = UnitState("activating", "active")
    small.supervisor.acts.clear()
    apply(small.host, conf)
    assert f"restart {new}" in small.supervisor.acts
    small.check_settled({"a": "2", "b": "1"})
