"""Warm releases: they stay loaded after their replacement, and a rollback makes them live."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mms_server.core.errors import MMSError, ReleaseFailedError
from mms_server.deploy import operate, retire
from mms_server.deploy.apply import apply, plan_rollback, rollback
from mms_server.deploy.prune import find_unused, prune
from mms_server.host import generations, live_links, warm_standby
from tests.fixtures.fake_host import FakeHost


@pytest.fixture
def keeping(fake: FakeHost) -> FakeHost:
    """A host that keeps replaced releases warm for 300 s."""
    fake.settings = replace(fake.settings, keep_warm_s=300)
    return fake


def _collect(fake: FakeHost) -> list[str]:
    ended = retire.end_overdue(fake.host)
    prune(fake.host)
    return ended


def test_a_replaced_release_stays_loaded_for_its_time(keeping: FakeHost) -> None:
    apply(keeping.host, keeping.write_conf({"a": "1"}))
    (old,) = keeping.serving()
    outcome = apply(keeping.host, keeping.write_conf({"a": "2"}))
    assert outcome.keep_warm == {old: 300}
    assert warm_standby.read(keeping.layout) == {old: 1300.0}
    assert keeping.supervisor.scheduled == {old: 301.0}
    keeping.check_settled({"a": "2"})
    assert old in keeping.serving()
    assert not keeping.supervisor.units[old].enabled, "a boot does not start it"
    conf = keeping.root / "efs/mms.conf"
    assert not apply(keeping.host, conf).changed
    keeping.uptime_s = 1299.9
    assert _collect(keeping) == []
    keeping.uptime_s = 1300
    assert _collect(keeping) == [old]
    assert keeping.supervisor.units[old].gone
    keeping.check_settled({"a": "2"})
    assert not apply(keeping.host, conf).changed


def test_an_apply_ends_an_overdue_warm_release(keeping: FakeHost) -> None:
    apply(keeping.host, keeping.write_conf({"a": "1"}))
    (old,) = keeping.serving()
    conf = keeping.write_conf({"a": "2"})
    apply(keeping.host, conf)
    keeping.uptime_s += 301
    outcome = apply(keeping.host, conf)
    assert (outcome.changed, outcome.leftovers, outcome.keep_warm) == (True, (old,), {})
    assert warm_standby.read(keeping.layout) == {}
    keeping.check_settled({"a": "2"})


def test_the_time_of_one_model(fake: FakeHost) -> None:
    text = "[Model Settings]\na.keep_warm_s=20\n"
    apply(fake.host, fake.write_conf({"a": "1", "b": "1"}, text))
    old = live_links.read(fake.layout)
    outcome = apply(fake.host, fake.write_conf({"a": "2", "b": "2"}, text))
    assert outcome.keep_warm == {old["a"]: 20}
    fake.check_settled({"a": "2", "b": "2"})


def test_a_queue_that_does_not_empty_ends_the_release(keeping: FakeHost) -> None:
    apply(keeping.host, keeping.write_conf({"a": "1"}))
    keeping.mute = {"a"}
    outcome = apply(keeping.host, keeping.write_conf({"b": "1"}))
    assert outcome.keep_warm
    assert warm_standby.read(keeping.layout) == {}
    keeping.check_settled({"b": "1"})


def test_a_release_that_never_served_is_not_kept(keeping: FakeHost) -> None:
    apply(keeping.host, keeping.write_conf({"a": "1"}))
    keeping.supervisor.broken = {"a"}
    with pytest.raises(ReleaseFailedError):
        apply(keeping.host, keeping.write_conf({"a": "2"}))
    assert warm_standby.read(keeping.layout) == {}
    keeping.check_settled({"a": "1"})


def test_back_to_a_warm_release_starts_nothing(keeping: FakeHost) -> None:
    apply(keeping.host, keeping.write_conf({"a": "1"}))
    (old,) = keeping.serving()
    apply(keeping.host, keeping.write_conf({"a": "2"}))
    new = live_links.read(keeping.layout)["a"]
    keeping.supervisor.acts.clear()
    shown = plan_rollback(keeping.host, None)
    assert shown.command == "mms rollback"
    assert shown.forecast is not None
    assert (shown.forecast.seconds, shown.forecast.starts) == (0, {})
    assert keeping.supervisor.acts == []
    outcome = rollback(keeping.host, None)
    assert (outcome.actions, outcome.generation) == (shown.actions, 3)
    assert keeping.supervisor.acts == [f"enable {old}", f"disable {new}"]
    assert list(warm_standby.read(keeping.layout)) == [new]
    keeping.check_settled({"a": "1"})
    generation = generations.newest(keeping.layout)
    assert generation is not None
    assert (generation.restores, generation.by) == (1, "tester")


def test_back_to_a_release_that_is_no_longer_loaded(fake: FakeHost) -> None:
    fake.settings = replace(fake.settings, keep_generations=5)
    for weights in "123":
        conf = fake.write_conf({"a": weights})
        apply(fake.host, conf)
    for path in conf.parent.iterdir():  # the share is gone
        path.unlink()
    rollback(fake.host, 1)
    fake.check_settled({"a": "1"})
    rollback(fake.host, None)
    fake.check_settled({"a": "3"})
    assert not rollback(fake.host, 5).changed, "it is what is live"


def test_rollbacks_that_are_impossible(fake: FakeHost) -> None:
    with pytest.raises(MMSError, match=r"no earlier generation\. Fix: run `mms apply`"):
        rollback(fake.host, None)
    apply(fake.host, fake.write_conf({"a": "1"}))
    with pytest.raises(MMSError, match=r"no earlier generation\. Fix: use --to with one of 1"):
        rollback(fake.host, None)
    with pytest.raises(MMSError, match=r"generation 7 is gone\. Fix: use --to with one of 1"):
        rollback(fake.host, 7)
    (old,) = fake.serving()
    apply(fake.host, fake.write_conf({"a": "2"}))
    before = fake.served()
    file = fake.layout.release_file(old)
    text = file.read_text()
    file.unlink()
    with pytest.raises(MMSError, match="of generation 1 cannot be read"):
        plan_rollback(fake.host, None)
    file.write_text(text)
    fake.settings = replace(fake.settings, runtime=str(fake.root))
    (fake.root / "opt/mms/releases/1").rename(fake.root / "elsewhere")
    with pytest.raises(MMSError, match=r"its runtime .* is not there"):
        rollback(fake.host, None)
    assert fake.served() == before


def test_a_rollback_that_fails_leaves_the_warm_one_warm(keeping: FakeHost) -> None:
    apply(keeping.host, keeping.write_conf({"a": "1", "b": "1"}))
    old = live_links.read(keeping.layout)
    apply(keeping.host, keeping.write_conf({"a": "2", "b": "2"}))
    keeping.supervisor.stop(old["b"], 1)
    keeping.supervisor.broken = {"b"}
    with pytest.raises(ReleaseFailedError):
        rollback(keeping.host, None)
    keeping.supervisor.broken = set()
    assert list(warm_standby.read(keeping.layout)) == [old["a"]]
    keeping.check_settled({"a": "2", "b": "2"})


def test_a_boot_starts_only_live_releases(keeping: FakeHost) -> None:
    apply(keeping.host, keeping.write_conf({"a": "1"}))
    (old,) = keeping.serving()
    apply(keeping.host, keeping.write_conf({"a": "2"}))
    assert operate.relink(keeping.host) == [], "a warm release is left alone"
    warm_standby.forget(keeping.layout, old)  # a boot empties /run
    assert operate.relink(keeping.host) == [f"release {old}: neither live nor kept warm; stopped"]
    keeping.check_settled({"a": "2"})


def test_a_stale_warm_record_of_a_live_release_has_no_effect(keeping: FakeHost) -> None:
    apply(keeping.host, keeping.write_conf({"a": "1"}))
    (live,) = keeping.serving()
    # As after a rollback that was killed between its switch of the link and its end.
    warm_standby.keep(keeping.layout, live, keeping.uptime_s - 1)
    assert _collect(keeping) == []
    assert keeping.served() == {"a": "1"}
    outcome = apply(keeping.host, keeping.write_conf({"a": "2"}))
    assert outcome.keep_warm == {live: 300}


def test_unused_items_are_listed_before_they_are_removed(fake: FakeHost) -> None:
    for weights in "12":
        apply(fake.host, fake.write_conf({"a": weights}))
    assert not find_unused(fake.host)
    fake.settings = replace(fake.settings, keep_generations=1)
    found = find_unused(fake.host)
    assert found.generations == (1,)
    assert (len(found.releases), len(found.entries)) == (1, 1)
    assert found.size_bytes > 0
    assert find_unused(fake.host) == found, "looking changes nothing"
    assert prune(fake.host) == found
    assert not find_unused(fake.host)
    fake.check_settled({"a": "2"})


def test_status_shows_memory_and_what_is_warm(keeping: FakeHost) -> None:
    apply(keeping.host, keeping.write_conf({"a": "1"}))
    (old,) = keeping.serving()
    apply(keeping.host, keeping.write_conf({"a": "2"}))
    keeping.uptime_s += 100
    _generation, (row,) = operate.status(keeping.host)
    assert row.warm == {old: 200.0}
    assert row.memory_bytes == 1024 * 1024
