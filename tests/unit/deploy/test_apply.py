"""Apply: all of a change or nothing; no action if nothing changed."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mms_server.archives import golden_samples
from mms_server.core.errors import ConfError, GoldenError, LockHeldError, ReleaseFailedError
from mms_server.deploy.apply import apply, plan
from mms_server.host import generations, live_links, resource_profile, start_failure
from mms_server.host.lock import locked
from mms_server.host.resource_profile import ResourceProfile
from mms_server.host.supervisor import UnitState
from tests.fixtures.fake_host import FakeHost


def _actions(fake: FakeHost, conf: Path) -> list[tuple[str, str]]:
    return [(row.model, row.action) for row in plan(fake.host, conf).actions]


def test_the_first_apply_loads_everything(fake: FakeHost) -> None:
    conf = fake.write_conf({"a": "1", "b": "1"})
    assert _actions(fake, conf) == [("a", "load"), ("b", "load")]
    outcome = apply(fake.host, conf)
    assert (outcome.changed, outcome.generation) == (True, 1)
    fake.check_settled({"a": "1", "b": "1"})
    generation = generations.newest(fake.layout)
    assert generation is not None
    assert (generation.made_at, generation.by) == ("2020-01-02T03:04:05+00:00", "tester")


def test_plan_changes_nothing(fake: FakeHost) -> None:
    conf = fake.write_conf({"a": "1"})
    outcome = plan(fake.host, conf)
    assert outcome.changed
    assert outcome.before == ""
    assert "archive:" in outcome.after
    assert fake.supervisor.acts == []
    assert not fake.layout.state.exists()


def test_a_second_apply_touches_no_unit(fake: FakeHost) -> None:
    conf = fake.write_conf({"a": "1", "b": "1"})
    apply(fake.host, conf)
    fake.supervisor.acts.clear()
    outcome = apply(fake.host, conf)
    assert not outcome.changed
    assert outcome.generation == 1
    assert outcome.before == outcome.after
    assert fake.supervisor.acts == []


def test_an_archive_that_changed_under_its_name_is_a_new_release(fake: FakeHost) -> None:
    conf = fake.write_conf({"a": "1", "b": "1"})
    apply(fake.host, conf)
    fake.write_conf({"a": "2", "b": "1"})
    outcome = apply(fake.host, conf)
    assert [(row.model, row.action) for row in outcome.actions] == [("a", "replace"), ("b", "keep")]
    assert outcome.before != outcome.after
    fake.check_settled({"a": "2", "b": "1"})


def test_the_new_release_is_ready_before_the_old_one_ends(fake: FakeHost) -> None:
    apply(fake.host, fake.write_conf({"a": "1"}))
    old = live_links.read(fake.layout)["a"]
    fake.clockwork.events.clear()
    apply(fake.host, fake.write_conf({"a": "2"}))
    new = live_links.read(fake.layout)["a"]
    order = [
        f"after start {new}",
        f"probe {new}",
        "model a: switch the link",
        "model a: write generation 2",
        f"after enable {new}",
        f"after disable {old}",
        f"probe {old}",
        f"after stop {old}",
    ]
    assert [event for event in fake.clockwork.events if event in order] == order


def test_a_removed_model_is_drained_and_stopped(fake: FakeHost) -> None:
    apply(fake.host, fake.write_conf({"a": "1", "b": "1"}))
    old = live_links.read(fake.layout)["b"]
    fake.clockwork.events.clear()
    outcome = apply(fake.host, fake.write_conf({"a": "1"}))
    assert [(row.model, row.action) for row in outcome.actions] == [("a", "keep"), ("b", "unload")]
    events = fake.clockwork.events
    assert events.index(f"probe {old}") < events.index(f"before stop {old}")
    assert events.index("model b: remove the link") < events.index(f"probe {old}")
    fake.check_settled({"a": "1"})


def test_a_wanted_release_that_is_down_is_started_again(fake: FakeHost) -> None:
    conf = fake.write_conf({"a": "1"})
    apply(fake.host, conf)
    (release,) = fake.serving()
    fake.supervisor.stop(release, 1)
    outcome = apply(fake.host, conf)
    assert outcome.changed
    assert outcome.generation == 1
    assert outcome.actions[0].repairs == ("start",)
    assert "lacks: start" in outcome.before
    fake.check_settled({"a": "1"})


def test_a_kept_release_that_does_not_start_again_stays_wanted(fake: FakeHost) -> None:
    conf = fake.write_conf({"a": "1"})
    apply(fake.host, conf)
    (release,) = fake.serving()
    fake.supervisor.stop(release, 1)
    fake.supervisor.broken = {"a"}
    with pytest.raises(ReleaseFailedError):
        apply(fake.host, conf)
    assert live_links.read(fake.layout) == {"a": release}
    assert fake.supervisor.units[release].service == "activating", "systemd goes on trying"


def test_settings_of_the_file_make_new_releases(fake: FakeHost) -> None:
    apply(fake.host, fake.write_conf({"a": "1"}))
    conf = fake.write_conf({"a": "1"}, "[MXNet Environment Variables]\nOMP_NUM_THREADS=2\n")
    assert _actions(fake, conf) == [("a", "replace")]


def test_another_port_is_a_new_generation_and_touches_no_unit(fake: FakeHost) -> None:
    apply(fake.host, fake.write_conf({"a": "1"}))
    fake.supervisor.acts.clear()
    outcome = apply(fake.host, fake.write_conf({"a": "1"}, "--port\n80\n"))
    assert (outcome.changed, outcome.generation) == (True, 2)
    assert fake.supervisor.acts == []


def test_the_service_file_is_copied_into_the_store(fake: FakeHost) -> None:
    (fake.root / "efs").mkdir()
    (fake.root / "efs/my.py").write_text("# one")
    conf = fake.write_conf({"a": "1"}, "--service\nmy.py\n")
    apply(fake.host, conf)
    release = fake.host.release(fake.serving()[0])
    assert release is not None
    assert Path(release.service).read_text() == "# one"
    assert Path(release.service).is_relative_to(fake.layout.store)
    (fake.root / "efs/my.py").write_text("# two")
    assert _actions(fake, conf) == [("a", "replace")]


def test_samples_beside_the_archive_are_part_of_the_release(fake: FakeHost) -> None:
    conf = fake.write_conf({"a": "1"})
    beside = fake.root / "efs/a.model.golden"
    beside.mkdir()
    with pytest.raises(ConfError, match=r"model a: golden samples .* holds no golden samples"):
        plan(fake.host, conf)
    for number in (1, 2):
        for name, content in golden_samples.encode(
            [golden_samples.Sample(([1],), [number])]
        ).items():
            (beside / name).write_bytes(content)
        assert _actions(fake, conf) == [("a", "load" if number == 1 else "replace")]
        assert not any("no golden samples" in text for text in plan(fake.host, conf).risks)
        apply(fake.host, conf)
        release = fake.host.release(fake.serving()[0])
        assert release is not None
        assert golden_samples.read(fake.layout.store / release.golden)[0].expected == [number]
        fake.check_settled({"a": "1"})
    (beside / golden_samples.FILE_NAME).unlink()
    beside.rmdir()
    assert _actions(fake, conf) == [("a", "replace")]
    assert any("no golden samples" in text for text in plan(fake.host, conf).risks)


def test_the_step_that_failed_in_the_release_is_named(fake: FakeHost) -> None:
    fake.supervisor.broken = {"a"}
    error = GoldenError(2, "the answer[0] is 1; expected is 2.", fix="check it.")
    fake.supervisor.words = f"Starting\n{start_failure.format_line(error)}\nFailed"
    with pytest.raises(ReleaseFailedError) as caught:
        apply(fake.host, fake.write_conf({"a": "1"}))
    assert (caught.value.step, caught.value.fix) == ("golden check", "check it.")
    told = "model a, step golden check: golden sample 2: the answer[0] is 1; expected is 2."
    assert str(caught.value).startswith(told)


def test_a_release_is_measured_when_it_is_ready(fake: FakeHost) -> None:
    conf = fake.write_conf({"a": "1"})
    fake.supervisor.memory = {"a": 5}
    before = plan(fake.host, conf)
    assert before.forecast is not None
    assert not before.forecast.starts["a"].measured
    assert any("never loaded on this host" in text for text in before.risks)
    apply(fake.host, conf)
    (release,) = fake.serving()
    assert resource_profile.read(fake.layout.measured_file(release)) == ResourceProfile(5, 5, 0.0)
    fake.supervisor.stop(release, 1)
    again = plan(fake.host, conf)
    assert again.forecast is not None
    assert again.forecast.starts["a"].memory_bytes == 5
    assert not any("never loaded" in text for text in again.risks)


def test_changed_settings_are_listed(fake: FakeHost) -> None:
    text = (
        "[MXNet Environment Variables]\nOMP_NUM_THREADS={}\n[Gunicorn Arguments]\n--workers\n{}\n"
    )
    apply(fake.host, fake.write_conf({"a": "1"}, text.format(1, 1)))
    outcome = plan(fake.host, fake.write_conf({"a": "2"}, text.format(2, 3)))
    changes = {row.name: (row.before, row.after) for row in outcome.changes["a"]}
    assert changes["workers"] == ("1", "3")
    assert changes["OMP_NUM_THREADS"] == ("1", "2")
    assert set(changes) == {"workers", "OMP_NUM_THREADS", "archive_sha256"}


def test_another_runtime_is_a_risk(fake: FakeHost) -> None:
    conf = fake.write_conf({"a": "1"})
    apply(fake.host, conf)
    other = fake.root / "opt/mms/releases/2"
    other.mkdir()
    fake.settings = replace(fake.settings, runtime=str(other))
    assert any("the runtime changes" in text for text in plan(fake.host, conf).risks)


def test_the_second_of_two_models_fails(fake: FakeHost) -> None:
    conf = fake.write_conf({"a": "1", "b": "1"})
    apply(fake.host, conf)
    before = (fake.serving(), live_links.read(fake.layout), sorted(fake.layout.store.iterdir()))
    fake.write_conf({"a": "2", "b": "2"})
    fake.supervisor.broken = {"b"}
    with pytest.raises(ReleaseFailedError) as caught:
        apply(fake.host, conf)
    assert (caught.value.model, caught.value.step, caught.value.exit_code) == ("b", "start", 4)
    assert "last words of b." in str(caught.value)
    assert "serves what it served before" in str(caught.value)
    assert before == (
        fake.serving(),
        live_links.read(fake.layout),
        sorted(fake.layout.store.iterdir()),
    )
    fake.check_settled({"a": "1", "b": "1"})


def test_a_first_release_that_fails_leaves_nothing(fake: FakeHost) -> None:
    fake.mute = {"a"}
    with pytest.raises(ReleaseFailedError, match="ask for a first answer"):
        apply(fake.host, fake.write_conf({"a": "1"}))
    assert generations.newest(fake.layout) is None
    assert live_links.read(fake.layout) == {}
    assert all(state.gone for state in fake.supervisor.units.values())
    assert list(fake.layout.releases.iterdir()) == list(fake.layout.store.iterdir()) == []


def test_a_failure_while_switching_restores_the_links(
    fake: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = fake.write_conf({"a": "1", "b": "1"})
    apply(fake.host, conf)

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(generations, "write", full)
    fake.write_conf({"a": "2", "c": "2"})
    with pytest.raises(ReleaseFailedError, match="No space left"):
        apply(fake.host, conf)
    fake.check_settled({"a": "1", "b": "1"})


def test_a_queue_that_does_not_empty_is_a_warning(fake: FakeHost) -> None:
    apply(fake.host, fake.write_conf({"a": "1"}))
    fake.mute = {"a"}
    outcome = apply(fake.host, fake.write_conf({"b": "1"}))
    assert any("did not answer" in text for text in outcome.warnings)
    fake.check_settled({"b": "1"})


def test_a_release_that_does_not_stop_keeps_its_files_and_is_stopped_later(
    fake: FakeHost,
) -> None:
    fake.settings = replace(fake.settings, keep_generations=1)
    apply(fake.host, fake.write_conf({"a": "1"}))
    (old,) = fake.serving()
    fake.supervisor.unstoppable = {old}
    outcome = apply(fake.host, fake.write_conf({"a": "2"}))
    assert any("cannot be stopped" in text for text in outcome.warnings)
    assert old in fake.serving()
    release = fake.host.release(old)
    assert release is not None
    assert (fake.layout.store / release.archive_sha256).is_dir()
    fake.supervisor.unstoppable.clear()
    assert apply(fake.host, fake.root / "efs/mms.conf").leftovers == (old,)
    fake.check_settled({"a": "2"})


def test_a_release_that_would_not_start_at_boot_is_repaired(fake: FakeHost) -> None:
    conf = fake.write_conf({"a": "1"})
    apply(fake.host, conf)
    fake.supervisor.disable(fake.serving()[0])
    outcome = apply(fake.host, conf)
    assert outcome.actions[0].repairs == ("enable",)
    fake.check_settled({"a": "1"})


def test_a_link_is_never_absent_while_it_moves(fake: FakeHost) -> None:
    live_links.point(fake.layout, "a", "a.0")
    stop, missing = threading.Event(), list[str]()

    def look() -> None:
        while not stop.is_set():
            try:
                fake.layout.live_link("a").readlink()
            except FileNotFoundError as error:
                missing.append(str(error))

    watcher = threading.Thread(target=look)
    watcher.start()
    for number in range(3000):
        live_links.point(fake.layout, "a", f"a.{number}")
    stop.set()
    watcher.join(timeout=10)
    assert missing == []
    assert live_links.read(fake.layout) == {"a": "a.2999"}


@pytest.mark.parametrize(
    ("models", "text", "cause"),
    [
        (
            {"a": "1"},
            "[MMS Arguments]\n--models\nx=gone.model\n",
            "archive .*gone.model does not exist",
        ),
        ({"a": "1"}, "[MMS Arguments]\n--models\nx=mms.conf\n", "is not a ZIP file"),
        ({"a": "1"}, "[MMS Arguments]\n--models\na=a.model\n[Oops]\n", "unknown section header"),
    ],
)
def test_invalid_input_changes_nothing(
    fake: FakeHost, models: dict[str, str], text: str, cause: str
) -> None:
    conf = fake.write_conf(models)
    apply(fake.host, conf)
    fake.supervisor.acts.clear()
    conf.write_text(text)
    with pytest.raises(ConfError, match=cause) as caught:
        apply(fake.host, conf)
    assert caught.value.line > 0
    assert fake.supervisor.acts == []
    fake.check_settled(models)


def test_a_held_lock_names_its_owner(fake: FakeHost) -> None:
    conf = fake.write_conf({"a": "1"})
    with (
        locked(fake.layout, "mms restart", datetime(2020, 1, 1, tzinfo=UTC)),
        pytest.raises(
            LockHeldError, match=r"process \d+ \(`mms restart`, since 2020-01-01T"
        ) as caught,
    ):
        apply(fake.host, conf)
    assert caught.value.exit_code == 3


def test_apply_waits_for_a_lock_of_gc(fake: FakeHost) -> None:
    conf = fake.write_conf({"a": "1"})
    tidying = locked(fake.layout, "mms gc", datetime(2020, 1, 1, tzinfo=UTC))
    tidying.__enter__()
    threading.Timer(0.5, tidying.__exit__, (None, None, None)).start()
    assert apply(fake.host, conf).changed


@pytest.mark.parametrize(("command", "waited"), [("mms gc", 60), ("mms restart", 0)])
def test_the_wait_for_a_lock_is_limited(fake: FakeHost, command: str, waited: int) -> None:
    now = datetime(2020, 1, 1, tzinfo=UTC)
    seconds, told = [0.0], list[str]()

    def sleep(pause_s: float) -> None:
        seconds[0] += pause_s

    with (
        locked(fake.layout, command, now),
        pytest.raises(LockHeldError),
        locked(fake.layout, "x", now, report=told.append, sleep=sleep, clock=lambda: seconds[0]),
    ):
        raise AssertionError("it is not held")
    assert round(seconds[0]) == waited
    assert len(told) == bool(waited)


def test_old_generations_and_their_releases_are_removed(fake: FakeHost) -> None:
    conf = fake.write_conf({"a": "0"})
    for weights in "01234":
        fake.write_conf({"a": weights})
        apply(fake.host, conf)
        fake.layout.instance(fake.serving()[0]).mkdir(parents=True, exist_ok=True)
        fake.layout.alive_file(fake.serving()[0]).touch()
    apply(fake.host, conf)
    assert generations.numbers(fake.layout) == [5, 4]
    assert len(list(fake.layout.instances.iterdir())) == 2
    fake.check_settled({"a": "4"})


def test_a_leftover_of_an_unknown_release_is_stopped(fake: FakeHost) -> None:
    conf = fake.write_conf({"a": "1"})
    apply(fake.host, conf)
    fake.supervisor.units["ghost.00000000"] = UnitState("failed", "active", half_enabled=True)
    outcome = apply(fake.host, conf)
    assert outcome.leftovers == ("ghost.00000000",)
    fake.check_settled({"a": "1"})
