"""Relinking after a boot, restart, and the status of a host."""

from __future__ import annotations

import pytest

from mms_server.core.errors import MMSError, ReleaseFailedError
from mms_server.deploy import operate
from mms_server.deploy.apply import apply
from mms_server.host import live_links
from mms_server.host.supervisor import UnitState
from tests.fixtures.fake_host import FakeHost


def _reboot(fake: FakeHost) -> None:
    """Empty /run as a boot does, and start the enabled units."""
    for path in fake.layout.live.iterdir():
        path.unlink()
    units = fake.supervisor.units
    for release, state in units.items():
        word = "active" if state.enabled else "inactive"
        units[release] = UnitState(word, word, state.enabled, state.half_enabled)
    fake.supervisor.acts.clear()


def test_a_boot_restores_the_links_only(fake: FakeHost) -> None:
    apply(fake.host, fake.write_conf({"a": "1", "b": "1"}))
    before = live_links.read(fake.layout)
    _reboot(fake)
    done = operate.relink(fake.host)
    assert len(done) == 2
    assert live_links.read(fake.layout) == before
    assert fake.supervisor.acts == []
    assert operate.relink(fake.host) == []
    fake.check_settled({"a": "1", "b": "1"})


def test_a_boot_after_a_kill_makes_systemd_match_the_generation(fake: FakeHost) -> None:
    apply(fake.host, fake.write_conf({"a": "1"}))
    (old,) = fake.serving()
    apply(fake.host, fake.write_conf({"a": "2"}))
    (new,) = fake.serving()
    # As after a kill between writing the generation and `systemctl enable`.
    fake.supervisor.units[new] = UnitState("active", "active")
    fake.supervisor.units[old] = UnitState("active", "active", enabled=True, half_enabled=True)
    _reboot(fake)
    assert fake.serving() == [old]
    operate.relink(fake.host)
    fake.check_settled({"a": "2"})


def test_a_boot_of_a_host_that_never_served(fake: FakeHost) -> None:
    assert operate.relink(fake.host) == []
    live_links.point(fake.layout, "x", "x.00000000")
    assert operate.relink(fake.host) == ["model x: link removed"]
    assert live_links.read(fake.layout) == {}


def test_restart_all_or_some(fake: FakeHost) -> None:
    apply(fake.host, fake.write_conf({"a": "1", "b": "1"}))
    live = live_links.read(fake.layout)
    fake.supervisor.acts.clear()
    assert operate.restart(fake.host, ["b"]) == ["b"]
    assert fake.supervisor.acts == [f"open {live['b']}", f"restart {live['b']}"]
    assert operate.restart(fake.host, []) == ["a", "b"]


def test_restart_of_an_unknown_model(fake: FakeHost) -> None:
    with pytest.raises(MMSError, match=r"x: not served by this host\. Fix: run `mms apply` first"):
        operate.restart(fake.host, ["x"])
    apply(fake.host, fake.write_conf({"a": "1"}))
    with pytest.raises(MMSError, match=r"x: not served by this host\. Fix: use a\."):
        operate.restart(fake.host, ["a", "x"])


def test_a_restart_that_fails_stops_there(fake: FakeHost) -> None:
    apply(fake.host, fake.write_conf({"a": "1", "b": "1"}))
    fake.supervisor.broken = {"a"}
    fake.supervisor.acts.clear()
    with pytest.raises(ReleaseFailedError, match="last words of a"):
        operate.restart(fake.host, [])
    assert not any(act.startswith("restart b") for act in fake.supervisor.acts)


def test_status(fake: FakeHost) -> None:
    assert operate.status(fake.host) == (None, [])
    apply(fake.host, fake.write_conf({"a": "1"}))
    generation, (row,) = operate.status(fake.host)
    assert generation is not None
    assert (row.model, row.release) == ("a", fake.serving()[0])
    assert row.units.up
    assert row.health.linked
    assert not row.health.ready, "no process of it is alive"
    assert row.socket == str(fake.layout.socket(row.release))
