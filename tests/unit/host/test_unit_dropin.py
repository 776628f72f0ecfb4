"""The drop-ins of releases: their content, and the texts that they refuse."""

from __future__ import annotations

import string
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mms_server.cli import output
from mms_server.config.sandbox import LIFTS, Confinement
from mms_server.core.errors import ConfError, MMSError, ReleaseFailedError
from mms_server.core.log_setup import Log
from mms_server.core.paths import Layout
from mms_server.deploy import operate
from mms_server.deploy.apply import apply, plan
from mms_server.host import unit_dropin
from mms_server.host.release import Release
from tests.fixtures.fake_host import FakeHost, Killed
from tests.unit.roles.modules import ROOT

LAYOUT = Layout()
RELEASE = Release("digits", "ab" * 32, 1, "/opt/mms/releases/1")

MORE = {"DeviceAllow", "InaccessiblePaths", "ReadOnlyPaths"}
"""The directives that narrow a lifted protection and are not in the template."""


def directives(release: Release) -> list[str]:
    """Return the lines that systemd reads, without the section, the user and comments."""
    lines = unit_dropin.render(LAYOUT, release).split("\n")
    assert lines[1:2] == ["[Service]"]
    assert lines[-1] == ""
    assert lines[2] == f"User=mms-{release.version}"
    return [line for line in lines[3:-1] if not line.startswith("#")]


def test_a_release_sees_its_own_files() -> None:
    assert directives(RELEASE) == [
        f"BindReadOnlyPaths=/var/lib/mms/store/{'ab' * 32}",
        "BindReadOnlyPaths=/opt/mms/releases/1",
    ]
    more = replace(
        RELEASE, service="/var/lib/mms/store/cd/service.py", log=Log(file="/var/log/mms/x.log")
    )
    assert "BindReadOnlyPaths=/var/lib/mms/store/cd" in directives(more)
    assert "BindPaths=/var/log/mms" in directives(more)


def test_limits_and_lifted_protections() -> None:
    confined = Confinement("1G", "50%", 64, 20, ("network",), "asks a feature store")
    release = replace(RELEASE, confinement=confined)
    found = directives(release)
    assert found[2:6] == ["MemoryHigh=1G", "MemoryMax=50%", "TasksMax=64", "CPUWeight=20"]
    assert found[6:] == list(LIFTS["network"].directives)
    assert "# Not protected: asks a feature store\n" in unit_dropin.render(LAYOUT, release)
    assert release.id != RELEASE.id
    assert Release.from_json(release.to_json()) == release


def test_what_is_lifted_is_what_the_template_protects() -> None:
    words = (ROOT / "mms_server" / "host" / "sandbox_protections.conf").read_text("utf-8")
    words += (ROOT / "mms_server" / "host" / "sandbox_root.conf").read_text("utf-8")
    words += (ROOT / "roles/mms_service/templates/mms@.service.j2").read_text("utf-8")
    known = {line.partition("=")[0] for line in words.splitlines()}
    for row in LIFTS.values():
        assert {line.partition("=")[0] for line in row.directives} <= known | MORE


@given(st.text(alphabet=[*string.ascii_letters, *"/._-:%\"'\\ \n\r\t\0$;#[]=é"], max_size=30))
def test_no_path_can_add_a_directive(path: str) -> None:
    release = replace(RELEASE, runtime=f"/{path}")
    try:
        found = directives(release)
    except MMSError:
        return
    assert found[1:] == [f"BindReadOnlyPaths={Path(release.runtime)}"]
    assert not set(found[1]) & set("%\"'\\ \n\t:$")


@given(st.text(max_size=40))
def test_no_reason_can_add_a_directive(reason: str) -> None:
    release = replace(RELEASE, confinement=Confinement(lifted=("files",), reason=reason))
    try:
        found = directives(release)
    except MMSError:
        return
    assert found[2:] == list(LIFTS["files"].directives)
    assert not unit_dropin.render(LAYOUT, release).replace("\\\n", "").count("\\")


def test_apply_writes_it_first_and_the_plan_shows_it(fake: FakeHost) -> None:
    rest = "[Model Settings]\na.unconfined=network: asks a feature store\na.tasks_max=64\n"
    conf = fake.write_conf({"a": "1"}, rest)
    planned = plan(fake.host, conf)
    line = "confinement: TasksMax=64, without protection of network (asks a feature store)"
    assert line in planned.after
    assert fake.supervisor.configured() == set()
    apply(fake.host, conf)
    shown = output.status_text(*operate.status(fake.host))
    assert "a runs without protection of network (asks a feature store)" in shown
    (release,) = fake.serving()
    content = fake.layout.drop_in(release).read_text()
    assert "PrivateNetwork=no\n" in content
    assert "TasksMax=64\n" in content
    events = fake.clockwork.events
    assert events.index("after configure") < events.index(f"before open {release}")
    assert plan(fake.host, fake.write_conf({"a": "1"})).actions[0].action == "replace"


def test_an_opt_out_without_a_reason_touches_nothing(fake: FakeHost) -> None:
    conf = fake.write_conf({"a": "1"}, "[Model Settings]\na.unconfined=network\n")
    with pytest.raises(ConfError, match="a colon and a reason"):
        apply(fake.host, conf)
    assert fake.supervisor.acts == []


def test_a_runtime_that_no_unit_can_name_touches_nothing(fake: FakeHost) -> None:
    runtime = fake.root / "my runtime"
    runtime.mkdir()
    fake.settings = replace(fake.settings, runtime=str(runtime))
    with pytest.raises(ReleaseFailedError, match="cannot be written in a systemd unit"):
        apply(fake.host, fake.write_conf({"a": "1"}))
    assert fake.supervisor.acts == []
    assert fake.supervisor.configured() == set()


def test_releases_that_are_gone_have_none(fake: FakeHost) -> None:
    (fake.layout.units / "mms@.service.d").mkdir(parents=True)
    (fake.layout.units / "mms@.service.d/local.conf").write_text("[Service]\n")
    for weights in "0123":
        apply(fake.host, fake.write_conf({"a": weights}))
    assert len(fake.supervisor.configured()) == 2, "as many generations are kept"
    assert (fake.layout.units / "mms@.service.d/local.conf").exists()


def test_killed_while_it_is_written(fake: FakeHost) -> None:
    apply(fake.host, fake.write_conf({"a": "1", "b": "1"}))
    conf = fake.write_conf({"a": "2", "b": "2"})
    steps = [event for event in fake.clockwork.events if "configure" in event]
    for step in range(len(steps)):
        fake.clockwork.events.clear()
        fake.clockwork.kill_at = 3 + step
        with pytest.raises(Killed):
            apply(fake.host, conf)
    left = fake.layout.drop_in("ghost.00000000").with_name(".release.conf.1.tmp")
    left.parent.mkdir()
    left.write_text("half")
    fake.clockwork.kill_at = None
    apply(fake.host, conf)
    fake.check_settled({"a": "2", "b": "2"})
    assert not left.parent.exists()


def test_what_an_administrator_put_beside_it_stays(tmp_path: Path) -> None:
    layout = Layout.under(tmp_path)
    assert unit_dropin.write(layout, "a.1", "x")
    assert not unit_dropin.write(layout, "a.1", "x")
    mine = layout.drop_in("a.1").with_name("mine.conf")
    mine.write_text("[Service]\n")
    unit_dropin.remove(layout, "a.1")
    unit_dropin.remove(layout, "b.1")
    assert unit_dropin.releases(layout) == set()
    assert mine.exists()
