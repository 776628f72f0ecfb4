"""Groups: their models have one release, and change together."""

from __future__ import annotations

import pytest

from mms_server.config.mms_conf import read
from mms_server.core.errors import ConfError, NoRoomError, ReleaseFailedError
from mms_server.deploy import operate
from mms_server.deploy.apply import apply, plan, rollback
from mms_server.host import generations, live_links
from mms_server.host.release import Release
from mms_server.server.health import check_models
from tests.fixtures.fake_host import FakeHost

MB = 10**6
TOGETHER = "[Model Settings]\na.group=small\nb.group=small\n"
BOTH = {"a": "1", "b": "1", "c": "1"}


def served_by(fake: FakeHost) -> dict[str, str]:
    """Return the name of the release of each model."""
    return {name: row.rpartition(".")[0] for name, row in live_links.read(fake.layout).items()}


@pytest.fixture
def grouped(fake: FakeHost) -> FakeHost:
    """A host that serves ``a`` and ``b`` in a group, and ``c`` alone."""
    apply(fake.host, fake.write_conf(BOTH, TOGETHER))
    fake.supervisor.acts.clear()
    return fake


def test_a_group_has_one_release(grouped: FakeHost) -> None:
    assert served_by(grouped) == {"a": "small", "b": "small", "c": "c"}
    assert len(grouped.serving()) == 2
    grouped.check_settled(BOTH)
    assert not apply(grouped.host, grouped.root / "efs/mms.conf").changed
    generation, rows = operate.status(grouped.host)
    assert generation is not None
    assert {row.model: row.group for row in rows} == {"a": "small", "b": "small", "c": ""}


def test_a_change_of_one_changes_the_group_once(grouped: FakeHost) -> None:
    outcome = apply(grouped.host, grouped.write_conf(BOTH | {"b": "2"}, TOGETHER))
    actions = {row.model: row.action for row in outcome.actions}
    assert actions == {"a": "replace", "b": "replace", "c": "keep"}
    assert [act.split()[0] for act in grouped.supervisor.acts].count("start") == 1
    assert {row.name for row in outcome.changes["b"]} == {"archive_sha256"}
    assert outcome.changes["a"] == ()
    assert any("its 2 models share processes" in text for text in outcome.risks)
    grouped.check_settled(BOTH | {"b": "2"})
    rollback(grouped.host, None)
    grouped.check_settled(BOTH)


def test_models_move_into_a_group_and_out_of_it(grouped: FakeHost) -> None:
    alone = "[Model Settings]\na.group=small\n"
    apply(grouped.host, grouped.write_conf(BOTH, alone))
    assert served_by(grouped) == {"a": "small", "b": "b", "c": "c"}
    grouped.check_settled(BOTH)
    apply(grouped.host, grouped.write_conf(BOTH, TOGETHER + "c.group=small\n"))
    assert set(served_by(grouped).values()) == {"small"}
    grouped.check_settled(BOTH)
    apply(grouped.host, grouped.write_conf(BOTH))
    assert served_by(grouped) == {"a": "a", "b": "b", "c": "c"}
    grouped.check_settled(BOTH)


def test_a_failed_change_of_a_group_changes_nothing(grouped: FakeHost) -> None:
    grouped.supervisor.broken = {"b"}
    with pytest.raises(ReleaseFailedError, match="model small, step start"):
        apply(grouped.host, grouped.write_conf(BOTH | {"b": "2"}, TOGETHER))
    grouped.supervisor.broken = set()
    grouped.check_settled(BOTH)


def test_every_model_of_a_group_is_probed(grouped: FakeHost) -> None:
    grouped.mute = {"b"}
    with pytest.raises(ReleaseFailedError, match="ask for a first answer"):
        apply(grouped.host, grouped.write_conf(BOTH | {"a": "2"}, TOGETHER))
    grouped.mute = set()
    grouped.check_settled(BOTH)


def test_a_group_is_restarted_once(grouped: FakeHost) -> None:
    assert operate.restart(grouped.host, ["a", "b"]) == ["a", "b"]
    restarts = [act for act in grouped.supervisor.acts if act.startswith("restart")]
    assert len(restarts) == 1


def test_a_link_to_another_group_is_not_ready(grouped: FakeHost) -> None:
    release = live_links.read(grouped.layout)["a"]
    live_links.point(grouped.layout, "c", release)
    generation = generations.newest(grouped.layout)
    assert generation is not None
    found = check_models(grouped.layout, generation.models)
    assert {name: row.serving for name, row in found.items()} == {
        "a": release,
        "b": release,
        "c": None,
    }


def test_a_group_replaces_its_models_with_a_gap(fake: FakeHost) -> None:
    fake.supervisor.memory = {"a": 190 * MB, "b": 190 * MB, "small": 190 * MB}
    fake.memory_bytes = 500 * MB
    before = {"a": "1", "b": "1"}
    apply(fake.host, fake.write_conf(before))
    conf = fake.write_conf(before, TOGETHER)
    assert plan(fake.host, conf).refusal is not None
    outcome = apply(fake.host, conf, allow_gap=True)
    assert set(outcome.gap_s) == {"a", "b"}
    fake.check_settled(before)


@pytest.mark.parametrize(("room", "waits"), [(120, None), (200, 1), (300, 0)])
def test_several_models_leave_a_group_only_if_they_fit(
    fake: FakeHost, room: int, waits: int | None
) -> None:
    fake.supervisor.memory = {"a": 150 * MB, "b": 150 * MB, "small": 190 * MB}
    before = {"a": "1", "b": "1"}
    # The needs of the models alone are known.
    apply(fake.host, fake.write_conf(before))
    apply(fake.host, fake.write_conf(before, TOGETHER))
    fake.memory_bytes = (190 + room) * MB
    conf = fake.write_conf(before)
    if waits is None:
        with pytest.raises(NoRoomError, match="they come out of one group"):
            apply(fake.host, conf, allow_gap=True)
        assert served_by(fake) == {"a": "small", "b": "small"}
    else:
        assert len(apply(fake.host, conf, allow_gap=True).gap_s) == waits
        assert served_by(fake) == {"a": "a", "b": "b"}
    fake.check_settled(before)


@pytest.mark.parametrize(
    ("lines", "cause", "line"),
    [
        ("a.group=c", r"a\.group=c is the name of a model", 5),
        ("a.group=@x", r"a\.group=@x is out of range", 5),
        ("a.group=s\nb.group=s\na.workers=1\nb.workers=2", r"b\.workers differs from a\.w", 8),
        ("a.group=s\na.max_batch_size=2", r"requests are computed one at a time", 6),
        ("a.group=s\na.max_batch_delay_ms=2", r"requests do not wait", 6),
        ("a.group=s\na.engine=onnxruntime", r"models are computed by mxnet", 6),
    ],
)
def test_invalid_groups(fake: FakeHost, lines: str, cause: str, line: int) -> None:
    conf = fake.write_conf(BOTH, f"[Model Settings]\n{lines}\n")
    with pytest.raises(ConfError, match=cause) as caught:
        read(conf)
    assert caught.value.line == line


def test_a_process_setting_of_one_model_is_that_of_the_group(fake: FakeHost) -> None:
    own = "b.workers=3\nb.memory_max=1G\na.request_timeout_ms=5\n"
    conf = fake.write_conf(BOTH, TOGETHER + own)
    apply(fake.host, conf)
    name = live_links.read(fake.layout)["a"]
    release = Release.from_json(fake.layout.release_file(name).read_text())
    assert (release.workers, release.confinement.memory_max) == (3, "1G")
    assert [part.request_timeout_ms for part in release.parts.values()] == [5, 0]
    assert release.queue_timeout_ms == 0, "who waits for ever waits in the same queue"


def test_a_group_computes_on_the_cpu(fake: FakeHost) -> None:
    conf = fake.write_conf(BOTH, TOGETHER)
    conf.write_text(conf.read_text().replace("--models\n", "--gpu\n0\n--models\n"))
    with pytest.raises(ConfError):
        apply(fake.host, conf)
