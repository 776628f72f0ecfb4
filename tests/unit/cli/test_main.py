"""The command line: words, JSON and exit codes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mms_server.cli import main
from mms_server.host.lock import locked
from tests.fixtures.fake_host import FakeHost, write_archive


class Command:
    """Runs ``mms`` on a fake host."""

    def __init__(self, fake: FakeHost, capsys: pytest.CaptureFixture[str]) -> None:
        self._fake = fake
        self._capsys = capsys
        fake.layout.etc.mkdir(parents=True)
        text = f'workers = 1\nruntime = "{fake.settings.runtime}"\nprobe_timeout_s = 1\n'
        text += "keep_warm_s = 50\nmemory_reserve = 0\n"
        (fake.layout.etc / "mms.toml").write_text(text)

    def run(self, *words: str) -> tuple[int, str, str]:
        argv = ["--layout-root", str(self._fake.root), *words]
        code = main.main(argv, self._fake.supervisor)
        out, err = self._capsys.readouterr()
        return code, out, err

    def json(self, *words: str) -> tuple[int, Any]:
        code, out, _err = self.run(*words, "--json")
        return code, json.loads(out)


@pytest.fixture
def command(
    fake: FakeHost, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Command:
    def host(options: Any, supervisor: Any) -> Any:
        made = original(options, supervisor)
        own = fake.host
        changes = {"probe": lambda *_arguments: None, "uptime": own.uptime, "memory": own.memory}
        return made.__class__(**{**made.__dict__, **changes})

    original = main._host
    monkeypatch.setattr(main, "_host", host)
    return Command(fake, capsys)


def test_plan_apply_status_releases(fake: FakeHost, command: Command) -> None:
    conf = str(fake.write_conf({"a": "1"}))
    code, planned = command.json("plan", "--conf", conf)
    assert (code, planned["changed"], planned["generation"]) == (0, True, None)
    code, applied = command.json("apply", "--conf", conf)
    assert (code, applied["changed"], applied["generation"]) == (0, True, 1)
    assert applied["models"] == planned["models"]
    (model,) = applied["models"]
    assert (model["model"], model["action"], model["previous"]) == ("a", "load", None)
    assert applied["before"] == ""
    assert applied["after"].startswith("a:\n  release: a.")
    code, again = command.json("apply", "--conf", conf)
    assert (code, again["changed"]) == (0, False)
    code, status = command.json("status")
    assert (code, status["generation"], status["healthy"]) == (0, 1, False)
    assert status["models"][0]["release"] == model["release"]
    code, releases = command.json("releases")
    assert (code, releases["releases"][0]["generations"]) == (0, [1])
    assert releases["releases"][0]["live"] is True
    assert command.json("restart", "a") == (0, {"restarted": ["a"]})
    assert command.json("relink") == (0, {"changed": False, "done": []})


def test_words(fake: FakeHost, command: Command) -> None:
    conf = str(fake.write_conf({"a": "1"}))
    assert "never served" in command.run("status")[1]
    assert "no releases" in command.run("releases")[1]
    assert "`mms apply` does this" in command.run("plan", "--conf", conf)[1]
    _code, out, err = command.run("apply", "--conf", conf)
    assert "ACTION  MODEL  RELEASE" in out
    assert "loads   a      a." in out
    assert "generation 1 is live" in out
    assert "mms: model a: switch the link\n" in err
    assert "Nothing to do" in command.run("apply", "--conf", conf)[1]
    assert "MODEL  RELEASE" in command.run("status")[1]
    assert "RELEASE" in command.run("releases")[1]
    assert "Restarted: a" in command.run("restart")[1]
    assert "Nothing to do" in command.run("relink")[1]
    fake.write_conf({"a": "2"})
    assert "replaces" in command.run("plan", "--conf", conf)[1]
    assert "a: archive_sha256: " in command.run("apply", "--conf", conf)[1]


def test_rollback_and_gc(fake: FakeHost, command: Command) -> None:
    conf = str(fake.write_conf({"a": "1"}))
    command.run("apply", "--conf", conf)
    (old,) = fake.serving()
    code, out, _err = command.run("rollback")
    assert (code, out) == (2, "")
    fake.write_conf({"a": "2"})
    code, applied = command.json("apply", "--conf", conf)
    assert (code, applied["keep_warm"]) == (0, {old: 50})
    assert f"{old} (50s)" in command.run("status")[1]
    assert "warm, 50s left" in command.run("releases")[1]
    code, answer = command.json("releases")
    assert {row["release"]: row["warm_s"] for row in answer["releases"]}[old] == 50
    code, out, _err = command.run("rollback", "--check")
    assert code == 0
    assert "keeps warm  a" in out
    assert "Nothing was changed; `mms rollback` does this." in out
    code, back = command.json("rollback", "--to", "1")
    assert (code, back["generation"], back["seconds"]) == (0, 3, 0)
    assert ", back to generation 1\n" in command.run("status")[1]
    assert command.json("status")[1]["restores"] == 1
    assert "generation 1" in command.run("releases")[1]
    assert command.run("gc", "--check")[1] == "Nothing to do: all that is here is needed.\n"
    fake.uptime_s += 51
    code, shown = command.json("gc", "--check")
    assert (code, shown["changed"], len(shown["ended"])) == (0, True, 1)
    assert "`mms gc` removes" in command.run("gc", "--check")[1]
    assert command.json("gc")[1] == shown
    assert fake.serving() == [old]
    assert command.json("gc")[1]["changed"] is False


def test_a_plan_that_is_refused_is_shown_and_ends_with_3(fake: FakeHost, command: Command) -> None:
    fake.supervisor.memory = {"a": 180_000_000}
    fake.memory_bytes = 300_000_000
    conf = str(fake.write_conf({"a": "1"}))
    command.run("apply", "--conf", conf)
    fake.write_conf({"a": "2"})
    code, out, err = command.run("plan", "--conf", conf)
    assert code == 3
    assert "with a gap" in out
    assert "memory: 172 MiB in use, at most" in out
    assert "risk: model a: no golden samples" in out
    assert "Nothing was changed; `mms apply`" not in out
    assert "model a: it does not fit beside what is loaded" in err
    code, answer = command.json("plan", "--conf", conf)
    assert (code, answer["gap"], answer["error"]["where"]) == (3, ["a"], "model a")
    assert command.run("apply", "--conf", conf)[0] == 3
    assert command.run("plan", "--conf", conf, "--allow-gap")[0] == 0
    code, out, _err = command.run("apply", "--conf", conf, "--allow-gap")
    assert (code, "gap of 0.0 s" in out) == (0, True)


def test_bad_input_ends_with_2(fake: FakeHost, command: Command) -> None:
    conf = fake.write_conf({"a": "1"})
    conf.write_text("[MMS Arguments]\n--models\nx=/none/x.model\n")
    for name in ("validate", "plan", "apply"):
        code, out, err = command.run(name, "--conf", str(conf))
        assert (code, out) == (2, "")
        text = f"{conf}:3: model x: archive /none/x.model does not exist. Fix: put"
        assert f"mms: error: {text}" in err
        code, answer = command.json(name, "--conf", str(conf))
        assert code == 2
        assert answer["error"]["where"] == f"{conf}:3"
        assert answer["error"]["text"].startswith(text)
        assert answer["error"]["fix"]


def test_a_failed_release_ends_with_4(fake: FakeHost, command: Command) -> None:
    fake.supervisor.broken = {"a"}
    code, answer = command.json("apply", "--conf", str(fake.write_conf({"a": "1"})))
    assert code == 4
    assert answer["error"]["where"] == "model a, step start"
    assert "last words of a." in answer["error"]["text"]


def test_a_held_lock_ends_with_3(fake: FakeHost, command: Command) -> None:
    conf = str(fake.write_conf({"a": "1"}))
    with locked(fake.layout, "mms apply", datetime(2020, 1, 1, tzinfo=UTC)):
        code, answer = command.json("apply", "--conf", conf)
    assert code == 3
    assert "`mms apply`, since 2020-01-01T00:00:00+00:00" in answer["error"]["cause"]


def test_an_error_of_the_operating_system_ends_with_4(fake: FakeHost, command: Command) -> None:
    fake.layout.state.parent.mkdir(parents=True)
    fake.layout.state.write_text("a file where a directory should be")
    code, answer = command.json("apply", "--conf", str(fake.write_conf({"a": "1"})))
    assert code == 4
    assert "File exists" in answer["error"]["cause"]


def test_validate_on_a_controller(fake: FakeHost, command: Command, tmp_path: Path) -> None:
    conf = fake.write_conf({}, "m=/efs/models/m.model\n[Gunicorn Arguments]\n--bind\n:9000\n")
    archives = tmp_path / "archives"
    write_archive(archives / "m.model", "1")
    words = ("validate", "--conf", str(conf), "--archives", str(archives))
    code, answer = command.json(*words)
    assert code == 0
    assert answer["models"][0]["archive"] == str(archives / "m.model")
    assert answer["bind"] == ":9000"
    assert "is good" in command.run(*words)[1]
    assert not fake.layout.state.exists()


def test_settings(fake: FakeHost, command: Command, tmp_path: Path) -> None:
    code, answer = command.json("settings")
    assert (code, answer["workers"]) == (0, 1)
    assert "workers = 1\n" in command.run("settings")[1]
    assert "| `workers` | `1` | `0` |" in command.run("settings", "--format", "markdown")[1]
    other = tmp_path / "other.toml"
    other.write_text("colour = 1\n")
    code, _out, err = command.run("settings", "--file", str(other))
    assert code == 2
    assert f"{other}:1: colour is not a setting. Fix: use one of workers, " in err
    # A file that is to replace a bad one can be checked.
    (fake.layout.etc / "mms.toml").write_text("bad")
    other.write_text("workers = 2\n")
    assert command.json("settings", "--file", str(other))[1]["workers"] == 2
    assert command.run("status")[0] == 2


@pytest.mark.parametrize("name", [*main._COMMANDS, ""])
def test_help_has_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main([*filter(None, [name]), "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert "exit codes" in out
    assert not name or f"example: mms {name}" in out


def test_a_new_key_is_shown_once_with_its_digest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["keys", "--new", "shop", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    file = tmp_path / "keys"
    file.write_text(f"{made['sha256']} {made['name']}\n")
    assert main.main(["keys", "--file", str(file)]) == 0
    assert capsys.readouterr().out == f"shop: {made['sha256']}\n"
    file.write_text(f"{made['key']} shop\n")
    assert main.main(["keys", "--file", str(file)]) == 2
    assert main.main(["keys", "--new", "a b"]) == 2
