"""The command line: words, JSON and exit codes."""

from __future__ import annotations

import pkgutil
from datetime import UTC, datetime

import pytest

from mms_server.cli import command_line, commands, fleet_commands, fleet_main, main
from mms_server.host.lock import locked
from tests.fixtures.command_line import MmsCommand
from tests.fixtures.fake_host import FakeHost


def test_plan_apply_status_releases(fake: FakeHost, mms: MmsCommand) -> None:
    conf = str(fake.write_conf({"a": "1"}))
    code, planned = mms.json("plan", "--conf", conf)
    assert (code, planned["changed"], planned["generation"]) == (0, True, None)
    code, applied = mms.json("apply", "--conf", conf)
    assert (code, applied["changed"], applied["generation"]) == (0, True, 1)
    assert applied["models"] == planned["models"]
    (model,) = applied["models"]
    assert (model["model"], model["action"], model["previous"]) == ("a", "load", None)
    assert applied["before"] == ""
    assert applied["after"].startswith("a:\n  release: a.")
    code, again = mms.json("apply", "--conf", conf)
    assert (code, again["changed"]) == (0, False)
    code, status = mms.json("status")
    assert (code, status["generation"], status["healthy"]) == (0, 1, False)
    assert status["models"][0]["release"] == model["release"]
    code, releases = mms.json("releases")
    assert (code, releases["releases"][0]["generations"]) == (0, [1])
    assert releases["releases"][0]["live"] is True
    assert mms.json("restart", "a") == (0, {"restarted": ["a"]})
    assert mms.json("relink") == (0, {"changed": False, "done": []})


def test_words(fake: FakeHost, mms: MmsCommand) -> None:
    conf = str(fake.write_conf({"a": "1"}))
    assert "never served" in mms.run("status")[1]
    assert "no releases" in mms.run("releases")[1]
    assert "`mms apply` does this" in mms.run("plan", "--conf", conf)[1]
    _code, out, err = mms.run("apply", "--conf", conf)
    assert "ACTION  MODEL  RELEASE" in out
    assert "loads   a      a." in out
    assert "generation 1 is live" in out
    assert "mms: model a: switch the link\n" in err
    assert "Nothing to do" in mms.run("apply", "--conf", conf)[1]
    assert "MODEL  RELEASE" in mms.run("status")[1]
    assert "RELEASE" in mms.run("releases")[1]
    assert "Restarted: a" in mms.run("restart")[1]
    assert "Nothing to do" in mms.run("relink")[1]
    fake.write_conf({"a": "2"})
    assert "replaces" in mms.run("plan", "--conf", conf)[1]
    assert "a: archive_sha256: " in mms.run("apply", "--conf", conf)[1]


def test_bad_input_ends_with_2(fake: FakeHost, mms: MmsCommand) -> None:
    conf = fake.write_conf({"a": "1"})
    conf.write_text("[MMS Arguments]\n--models\nx=/none/x.model\n")
    for name in ("validate", "plan", "apply"):
        code, out, err = mms.run(name, "--conf", str(conf))
        assert (code, out) == (2, "")
        text = f"{conf}:3: model x: archive /none/x.model does not exist. Fix: put"
        assert f"mms: error: {text}" in err
        code, answer = mms.json(name, "--conf", str(conf))
        assert code == 2
        assert answer["error"]["where"] == f"{conf}:3"
        assert answer["error"]["text"].startswith(text)
        assert answer["error"]["fix"]


def test_a_failed_release_ends_with_4(fake: FakeHost, mms: MmsCommand) -> None:
    fake.supervisor.broken = {"a"}
    code, answer = mms.json("apply", "--conf", str(fake.write_conf({"a": "1"})))
    assert code == 4
    assert answer["error"]["where"] == "model a, step start"
    assert "last words of a." in answer["error"]["text"]


def test_a_held_lock_ends_with_3(fake: FakeHost, mms: MmsCommand) -> None:
    conf = str(fake.write_conf({"a": "1"}))
    with locked(fake.layout, "mms apply", datetime(2020, 1, 1, tzinfo=UTC)):
        code, answer = mms.json("apply", "--conf", conf)
    assert code == 3
    assert "`mms apply`, since 2020-01-01T00:00:00+00:00" in answer["error"]["cause"]


def test_an_error_of_the_operating_system_ends_with_4(fake: FakeHost, mms: MmsCommand) -> None:
    fake.layout.state.parent.mkdir(parents=True)
    fake.layout.state.write_text("a file where a directory should be")
    code, answer = mms.json("apply", "--conf", str(fake.write_conf({"a": "1"})))
    assert code == 4
    assert "File exists" in answer["error"]["cause"]


@pytest.mark.parametrize("name", [*(each.name for each in main.PROGRAM.commands), ""])
def test_help_has_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main([*filter(None, [name]), "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert "exit codes" in out
    assert not name or f"example: mms {name}" in out


def test_each_module_of_the_commands_is_a_command() -> None:
    for program, package in ((main.PROGRAM, commands), (fleet_main.PROGRAM, fleet_commands)):
        modules = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
        assert modules == sorted(command.name for command in program.commands)


def test_who_interrupts_is_told(mms: MmsCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "make_host", interrupted)
    assert mms.run("status") == (130, "", "mms: interrupted; what was begun was put back.\n")
