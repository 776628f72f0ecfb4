"""``mxnet-model-server start|stop|restart|status|help`` (compatibility.md, 4)."""

from __future__ import annotations

from pathlib import Path

import pytest

from mms_server.cli import server_cmds, server_main
from mms_server.deploy import operate
from mms_server.deploy.apply import apply
from mms_server.deploy.host_context import Host
from mms_server.host import live_links
from tests.fixtures.fake_host import FakeHost


class Command:
    """Runs a command on a fake host, and keeps its output."""

    def __init__(self, fake: FakeHost, capsys: pytest.CaptureFixture[str]) -> None:
        self.fake = fake
        self._capsys = capsys
        self.out = self.err = ""

    def __call__(self, word: str, conf: Path | None = None, **environ: str) -> int:
        def make_host() -> Host:
            return self.fake.host

        code = server_cmds.control(word, conf, make_host=make_host, environ=environ)
        self.out, self.err = self._capsys.readouterr()
        return code


@pytest.fixture
def command(fake: FakeHost, capsys: pytest.CaptureFixture[str]) -> Command:
    fake.write_frame()
    return Command(fake, capsys)


def test_start_stop_status(fake: FakeHost, command: Command) -> None:
    conf = fake.write_conf({"a": "1", "b": "1"})
    assert command("status") == 3
    assert command("start", conf) == 0
    assert f"INFO: Reading file {conf}\n" in command.out
    assert "Service started successfully" in command.out
    fake.check_settled({"a": "1", "b": "1"})
    assert (fake.layout.nginx / "nginx.conf").is_file()
    assert command("status") == 0
    assert command.out == "mxnet-model-server is running\nnginx: process 4711\na: up\nb: up\n"
    assert command("stop") == 0
    assert command.out == "Stopping MMS\n"
    assert fake.serving() == []
    assert not fake.proxy.running
    assert command("status") == 3
    assert "is stopped" in command.out
    assert command("stop") == 0


def test_nginx_stops_before_the_models(fake: FakeHost, command: Command) -> None:
    command("start", fake.write_conf({"a": "1"}))
    fake.clockwork.events.clear()
    command("stop")
    acts = [text for text in fake.clockwork.events if text.startswith("after")]
    assert [text.split()[1:2] for text in acts] == [["stop"], ["stop"]]
    assert acts[0] == "after stop nginx"


@pytest.mark.parametrize("word", ["start", "restart"])
def test_start_and_restart_serve_again_after_a_stop(
    fake: FakeHost, command: Command, word: str
) -> None:
    conf = fake.write_conf({"a": "1"})
    command("start", conf)
    command("stop")
    assert command(word) == 0
    assert f"Reading file {conf}" in command.out
    fake.check_settled({"a": "1"})
    assert fake.proxy.running


def test_a_boot_starts_stopped_releases(fake: FakeHost, command: Command) -> None:
    command("start", fake.write_conf({"a": "1"}))
    command("stop")
    assert all(state.enabled for state in fake.supervisor.units.values())
    operate.relink(fake.host)
    fake.check_settled({"a": "1"})


def test_start_of_a_running_server_is_refused(fake: FakeHost, command: Command) -> None:
    conf = fake.write_conf({"a": "1"})
    command("start", conf)
    fake.write_conf({"a": "2"})
    assert command("start", conf) == 1
    assert command.err == (
        "[Thu Jan 02 03:04:05 UTC 2020] : mxnet-model-server : Process is already running with PID "
        "4711, run mxnet-model-server stop or mxnet-model-server restart "
        "--mms-config=/path/to/config\n"
    )
    fake.check_settled({"a": "1"})


def test_start_completes_a_partly_running_server(fake: FakeHost, command: Command) -> None:
    conf = fake.write_conf({"a": "1", "b": "1"})
    command("start", conf)
    (first, _second) = fake.serving()
    fake.supervisor.stop(first, 1)
    assert command("status") == 1
    assert "is degraded" in command.out
    assert "a: stopped" in command.out
    assert command("start") == 0
    fake.check_settled({"a": "1", "b": "1"})
    fake.proxy.running = False
    assert command("status") == 1
    assert command("start") == 0
    assert command("status") == 0


def test_restart_applies_a_changed_file_and_restarts_the_other_models(
    fake: FakeHost, command: Command
) -> None:
    conf = fake.write_conf({"a": "1", "b": "1"})
    command("start", conf)
    kept = live_links.read(fake.layout)["a"]
    fake.write_conf({"a": "1", "b": "2"}, "[Nginx Configurations]\nserver { listen 8080; }\n")
    fake.supervisor.acts.clear()
    assert command("restart", conf) == 0
    fake.check_settled({"a": "1", "b": "2"})
    assert [act for act in fake.supervisor.acts if act.startswith("restart")] == [f"restart {kept}"]
    assert fake.proxy.acts == ["start", "reload"]


def test_the_host_variable_reaches_nginx(fake: FakeHost, command: Command) -> None:
    section = "[Nginx Configurations]\nserver { listen 80; server_name _; }\n"
    conf = fake.write_conf({"a": "1"}, section)
    assert command("start", conf, MXNET_MODEL_SERVER_HOST="x.org") == 0
    assert "server_name x.org;" in (fake.layout.nginx / "nginx.conf").read_text()


def test_a_bad_nginx_section_is_refused_before_any_change(fake: FakeHost, command: Command) -> None:
    conf = fake.write_conf({"a": "1"})
    command("start", conf)
    fake.write_conf({"a": "2"}, "[Nginx Configurations]\nbad;\n")
    for word in ("restart", "start"):
        fake.proxy.running = word == "restart"
        assert command(word, conf) == 1
        assert f'{conf}:5: nginx refuses the configuration: unknown directive "bad"' in command.err
        fake.check_settled({"a": "1"})


def test_a_bad_model_changes_nothing(fake: FakeHost, command: Command) -> None:
    conf = fake.write_conf({"a": "1"})
    command("start", conf)
    fake.write_conf({"a": "2"})
    fake.supervisor.broken = {"a"}
    assert command("restart", conf) == 1
    assert "model a, step start" in command.err
    fake.check_settled({"a": "1"})
    assert command("status") == 0


@pytest.mark.parametrize("word", ["start", "restart"])
def test_a_file_that_is_missing_or_empty(tmp_path: Path, command: Command, word: str) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    for file in (tmp_path / "missing", empty):
        assert command(word, file) == 1
        assert command.err == f"ERROR: No configuration file given... {file}\n"


def test_a_release_that_does_not_stop_is_an_error_and_the_others_stop(
    fake: FakeHost, command: Command
) -> None:
    command("start", fake.write_conf({"a": "1", "b": "1"}))
    (first, _second) = fake.serving()
    fake.supervisor.unstoppable = {first}
    assert command("stop") == 1
    assert "cannot be stopped" in command.err
    assert fake.serving() == [first]


def test_a_host_whose_state_cannot_be_read(fake: FakeHost, command: Command) -> None:
    apply(fake.host, fake.write_conf({"a": "1"}))
    (fake.layout.generations / "1.json").write_text("{")
    assert command("status") == 4
    assert command("start") == 1
    assert command("stop") == 0
    assert fake.serving() == []


@pytest.mark.parametrize(
    ("words", "word", "conf"),
    [
        ("start", "start", None),
        ("START --MMS-CONFIG /a", "start", "/a"),
        ("--mms-conf /a Restart", "restart", "/a"),
        ("--mms-config=/a=b stop", "stop", "/a=b"),
        ("status status", "status", None),
        ("start -h", "help", None),
        ("help start", "help", None),
    ],
)
def test_words_in_any_order_and_case(words: str, word: str, conf: str | None) -> None:
    order = server_main.read_order(words.split())
    assert order == server_main.Invocation(word, Path(conf) if conf else None)
    assert not server_main.is_standalone(words.split())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("", "0 words were given"),
        ("--mms-config /a", "0 words were given"),
        ("start stop", "2 words were given"),
        ("reload", "'reload' is not understood"),
        ("start /a", "'/a' is not understood"),
        ("start --mms-config", "--mms-config needs the path"),
        ("start --mms-config=", "--mms-config needs the path"),
        ("start --port 80", "'--port' is not understood"),
    ],
)
def test_invalid_arguments(words: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert server_main.main(words.split()) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Invalid options given: ")
    assert says in err
    assert server_main.USAGE in err


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert server_main.main(["Help"]) == 0
    assert capsys.readouterr().out == server_main.USAGE


@pytest.mark.parametrize(
    "words",
    ["--models a=b", "--model=a=b", "--port 80", "--models start=a", "-h", "--mod a=b --port 1"],
)
def test_words_of_the_standalone_server(words: str) -> None:
    assert server_main.is_standalone(words.split())
