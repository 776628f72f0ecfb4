"""The commands that are run, and the parsing of their output: a script stands for systemctl."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mms_server.core.errors import SupervisorError
from mms_server.core.paths import Layout
from mms_server.host import systemd as module
from mms_server.host.supervisor import UnitState, Usage
from mms_server.host.systemd import Systemd

_SCRIPT = """\
#!/bin/sh
echo "$(basename "$0") $*" >> {log}
case "$*" in
{cases}
esac
"""


# The service and the socket of a.1, b.3 and old.2.
_ENABLED = r"enabled\nenabled\ndisabled\ndisabled\nenabled\ndisabled\n"


class Scripted:
    """Answers of ``systemctl`` and ``journalctl``, by a pattern of their arguments."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._log = directory / "log"
        self.answer({})

    def answer(self, cases: dict[str, str]) -> None:
        lines = "\n".join(f"{pattern}) {action} ;;" for pattern, action in cases.items())
        for name in ("systemctl", "journalctl", "systemd-run"):
            file = self._directory / name
            file.write_text(_SCRIPT.format(log=self._log, cases=lines or "x) ;;"))
            file.chmod(0o755)

    def asked(self) -> list[str]:
        words = self._log.read_text().replace("--no-ask-password --no-pager ", "")
        self._log.unlink()
        return words.splitlines()


@pytest.fixture
def scripted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scripted:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return Scripted(tmp_path)


def test_the_commands(scripted: Scripted) -> None:
    systemd = Systemd()
    systemd.open_socket("m.1")
    systemd.start("m.1", 5)
    systemd.start_soon("m.1")
    systemd.restart("m.1", 5)
    systemd.enable("m.1")
    systemd.disable("m.1")
    systemd.stop("m.1", 5)
    assert scripted.asked() == [
        "systemctl start mms@m.1.socket",
        "systemctl set-property --runtime mms@m.1.service CPUWeight=idle",
        "systemctl start mms@m.1.service",
        "systemctl start --no-block mms@m.1.socket mms@m.1.service",
        "systemctl restart mms@m.1.service",
        "systemctl enable --quiet --no-reload mms@m.1.socket mms@m.1.service",
        "systemctl disable --quiet --no-reload mms@m.1.socket mms@m.1.service",
        "systemctl stop mms@m.1.service mms@m.1.socket",
        "systemctl reset-failed mms@m.1.service mms@m.1.socket",
    ]


def test_the_error_of_a_failed_command_leaves_out_the_hint_on_a_reload(
    scripted: Scripted,
) -> None:
    hint = "Warning: The unit file, source configuration file or drop-ins changed on disk."
    said = f"printf '{hint}\\nJob failed.\\n' >&2; exit 1"
    scripted.answer({"*restart*": said})
    with pytest.raises(SupervisorError, match=r"service` failed: Job failed\."):
        Systemd().restart("m.1", 5)


def test_systemd_reloads_its_units_only_if_one_is_out_of_date(
    scripted: Scripted, tmp_path: Path
) -> None:
    layout = Layout.under(tmp_path)
    systemd = Systemd(layout=layout)

    def known(need: str, *releases: str) -> None:
        """Let systemd have loaded the drop-ins of these releases, and one of all releases."""
        blocks = (
            f"NeedDaemonReload={need}\\nDropInPaths=/etc/all.conf {layout.drop_in(name)}\\n"
            for name in releases
        )
        words = "\\n".join(blocks)
        scripted.answer({"*show*": f"printf '{words}'"})

    systemd.configure({})
    show = "systemctl show --property=NeedDaemonReload,DropInPaths mms@a.1.service mms@b.1.service"
    contents = {"b.1": "one", "a.1": "one"}
    known("no", "a.1", "b.1")
    systemd.configure(contents)
    assert scripted.asked() == [show]
    assert systemd.configured() == {"a.1", "b.1"}
    for state in (("yes", "a.1", "b.1"), ("no", "a.1", "a.1"), ("no", "a.1")):
        known(*state)
        systemd.configure(contents)
        assert scripted.asked() == [show, "systemctl daemon-reload"], state
    systemd.forget("a.1")
    assert systemd.configured() == {"b.1"}


def test_states_of_the_given_releases_and_of_all_that_are_loaded(scripted: Scripted) -> None:
    loaded = [
        {"unit": "mms@a.1.service", "active": "active"},
        {"unit": "mms@a.1.socket", "active": "active"},
        {"unit": "mms@old.2.service", "active": "failed"},
        {"unit": "mms@old.2.socket", "active": "inactive"},
        {"unit": "mms@odd name.service", "active": "active"},
    ]
    scripted.answer(
        {
            "*list-units*": f"echo '{json.dumps(loaded)}'",
            "*is-enabled*": f"printf '{_ENABLED}'; exit 1",
        }
    )
    assert Systemd().states(["a.1", "b.3"]) == {
        "a.1": UnitState("active", "active", enabled=True, half_enabled=True),
        "b.3": UnitState("inactive", "inactive"),
        "old.2": UnitState("failed", "inactive", half_enabled=True),
    }


def test_ended_releases_are_unloaded_if_they_are_many(scripted: Scripted) -> None:
    def know(ended: int) -> None:
        units = [{"unit": f"mms@a.{n}.service", "active": "inactive"} for n in range(ended)]
        units += [{"unit": "mms@a.x.service", "active": "active"}]
        lines = "disabled\\n" * 2 * len(units)
        scripted.answer(
            {
                "*list-units*": f"echo '{json.dumps(units)}'",
                "*is-enabled*": f"printf '{lines}'; exit 1",
            }
        )

    for ended, reloads in ((8, 0), (9, 1)):
        know(ended)
        Systemd().unload_ended()
        assert scripted.asked().count("systemctl daemon-reload") == reloads, ended


_SHOWN = """\
MemoryCurrent=300
ControlGroup=/system.slice/a.1
NRestarts=2
ActiveEnterTimestampMonotonic=5500000

MemoryCurrent=[not set]
ControlGroup=
NRestarts=0
ActiveEnterTimestampMonotonic=0

MemoryCurrent=18446744073709551615
ControlGroup=/system.slice/c.1
"""


def test_the_memory_and_restarts_of_releases(scripted: Scripted, tmp_path: Path) -> None:
    groups = tmp_path / "groups"
    (groups / "system.slice/a.1").mkdir(parents=True)
    (groups / "system.slice/a.1/memory.peak").write_text("400\n")
    (tmp_path / "shown").write_text(_SHOWN)
    scripted.answer({"*show*": f"cat {tmp_path / 'shown'}"})
    assert Systemd(groups).usage(["c.1", "a.1", "b.1"]) == {
        "a.1": Usage(300, 400, 5.5, 2),
        "b.1": Usage(None, None, None, 0),
        "c.1": Usage(None, None, None, 0),
    }
    assert scripted.asked()[0].endswith("mms@a.1.service mms@b.1.service mms@c.1.service")
    assert Systemd(groups).usage([]) == {}
    scripted.answer({"*show*": "echo MemoryCurrent=1"})
    with pytest.raises(SupervisorError, match="show answered for 1 of 2"):
        Systemd(groups).usage(["a.1", "b.1"])


def test_the_end_of_a_warm_release_is_a_transient_timer(scripted: Scripted) -> None:
    Systemd().schedule_gc("a.1", 61.0)
    stopped, run = scripted.asked()
    assert stopped == "systemctl stop mms-retire-a.1.timer"
    assert run.startswith("systemd-run --quiet --no-ask-password --collect --unit=mms-retire-a.1")
    assert "--on-active=61s" in run
    assert run.endswith("/opt/mms/current/bin/mms gc")
    scripted.answer({"*--on-active*": "echo 'no bus' >&2; exit 1"})
    with pytest.raises(SupervisorError, match="systemd-run failed: no bus"):
        Systemd().schedule_gc("a.1", 61.0)


def test_a_failure_carries_the_journal(scripted: Scripted) -> None:
    scripted.answer({"*start*": "echo 'Job failed.' >&2; exit 1", "*--unit*": "echo 'no memory'"})
    with pytest.raises(SupervisorError, match=r"Job failed\.") as caught:
        Systemd().start("m.1", 5)
    assert caught.value.journal == "no memory"
    assert caught.value.where() == "mms@m.1.service"


def test_the_wait_for_systemctl_is_limited(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MARGIN_S", 0)
    scripted.answer({"*start*": "exec sleep 60"})
    with pytest.raises(SupervisorError, match="did not end within"):
        Systemd().start("m.1", 0.2)


def test_bad_answers(scripted: Scripted) -> None:
    scripted.answer({"*list-units*": "echo nonsense"})
    with pytest.raises(SupervisorError, match="gave no JSON"):
        Systemd().states([])
    scripted.answer({"*list-units*": "echo '[]'", "*is-enabled*": "echo enabled"})
    with pytest.raises(SupervisorError, match="is-enabled answered for"):
        Systemd().states(["a.1", "b.1"])


def test_no_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SupervisorError, match="systemctl cannot be run") as caught:
        Systemd().states([])
    assert "systemd" in caught.value.fix
    assert "cannot be read" in Systemd().journal("a.1")


@pytest.mark.parametrize(
    ("state", "up", "gone"),
    [
        (UnitState("active", "active"), True, False),
        (UnitState("activating", "active"), False, False),
        (UnitState("active", "inactive"), False, False),
        (UnitState("inactive", "inactive"), False, True),
        (UnitState("failed", "inactive"), False, False),
        (UnitState(enabled=True), False, False),
        (UnitState(half_enabled=True), False, False),
    ],
)
def test_up_and_gone(state: UnitState, up: bool, gone: bool) -> None:
    assert (state.up, state.gone) == (up, gone)
