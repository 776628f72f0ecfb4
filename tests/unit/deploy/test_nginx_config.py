"""nginx.conf is made from [Nginx Configurations] and --bind of mms.conf, or nothing changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from mms_server.config import mms_conf
from mms_server.core.errors import ConfError, MMSError, SupervisorError
from mms_server.core.paths import Layout
from mms_server.deploy import nginx_config
from tests.fixtures.fake_host import FRAME, FakeHost, Killed

MODELS = "[MMS Arguments]\n--models\nm=/a.model\n"
SECTION = """
[Nginx Configurations]
# the edge
server {
    listen 8080;
    server_name _;  # any

    location / { proxy_pass http://unix:/tmp/x.sock; }
}
"""
BIND = "[Gunicorn Arguments]\n--bind\nunix:/tmp/x.sock\n"


def parsed(rest: str = "") -> mms_conf.MmsConf:
    return mms_conf.parse(MODELS + rest, Path("mms.conf"))


def text(rest: str = "", **environ: str) -> str:
    return nginx_config.compose(FRAME, parsed(rest), environ).text


def test_without_a_section_the_block_of_the_frame_is_used() -> None:
    assert text() == FRAME.replace("@router_listen@", "unix:/tmp/mms_app.sock")
    assert "listen 80;" in text(BIND)
    assert "listen unix:/tmp/x.sock;" in text(BIND)


def test_the_section_is_copied_without_comment_lines() -> None:
    got = text(BIND + SECTION)
    assert "listen unix:/tmp/x.sock;" in got
    assert "listen 80;" not in got
    assert (
        "server {\n    listen 8080;\n    server_name _;  # any\n"
        "    location / { proxy_pass http://unix:/tmp/x.sock; }\n}\n" in got
    )


@pytest.mark.parametrize(
    ("bind", "listen"),
    [
        (None, "unix:/tmp/mms_app.sock"),
        ("unix:/run/x.sock", "unix:/run/x.sock"),
        (":8000", "*:8000"),
        ("127.0.0.1:8000", "127.0.0.1:8000"),
    ],
)
def test_bind_becomes_a_listen_of_nginx(bind: str | None, listen: str) -> None:
    assert nginx_config.nginx_listen(bind) == listen


@pytest.mark.parametrize(
    ("line", "becomes"),
    [
        ("server_name a.example;", "server_name x.org;"),
        ("server_name\ta b;", "server_name x.org;"),
        ("server { server_name a; listen 1; }", "server { server_name x.org; listen 1; }"),
        ("server_name a\n  b;", "server_name x.org;\n"),
        ("server_name_in_redirect on;", "server_name_in_redirect on;"),
        ("return 301 https://$server_name$uri;", "return 301 https://$server_name$uri;"),
        ("listen 80;", "listen 80;"),
    ],
)
def test_the_host_variable_replaces_server_names(line: str, becomes: str) -> None:
    section = f"[Nginx Configurations]\n{line}\n"
    variable = "MXNET_MODEL_SERVER_HOST"
    assert f"begin\n{becomes}\n# mms" in text(section, **{variable: "x.org"})
    in_file = f"[MXNet Environment Variables]\n{variable}=x.org\n"
    assert f"begin\n{becomes}\n# mms" in text(in_file + section)
    assert f"begin\n{line}\n# mms" in text(section, **{variable: ""})


def test_the_variable_of_the_command_wins_and_must_be_a_name() -> None:
    section = "[MXNet Environment Variables]\nMXNET_MODEL_SERVER_HOST=x\n" + SECTION
    assert "server_name y z;" in text(section, MXNET_MODEL_SERVER_HOST=" y z ")
    frame = f"# mms edge: server_name w\n{FRAME}"
    assert "server_name w;" in nginx_config.compose(frame, parsed(SECTION), {}).text
    assert "server_name x;" in nginx_config.compose(frame, parsed(section), {}).text
    for bad in ("x; include /etc/shadow", "x\ny", "x{", "x}", "'x", "#"):
        with pytest.raises(MMSError, match="not a valid server name"):
            text(section, MXNET_MODEL_SERVER_HOST=bad)


@pytest.fixture
def file(fake: FakeHost) -> Path:
    fake.write_frame()
    return fake.layout.nginx / "nginx.conf"


def install(fake: FakeHost, rest: str = "") -> nginx_config.EdgeOutcome:
    return nginx_config.install(fake.layout, parsed(rest), {}, fake.proxy)


def test_it_is_installed_once(fake: FakeHost, file: Path) -> None:
    outcome = install(fake)
    assert (outcome.changed, outcome.before, outcome.after) == (True, "", file.read_text())
    assert fake.proxy.acts == ["start"]
    assert not install(fake).changed
    assert fake.proxy.acts == ["start"]
    before = file.read_text()
    outcome = install(fake, BIND + SECTION)
    assert (outcome.changed, outcome.before, outcome.after) == (True, before, file.read_text())
    assert fake.proxy.acts == ["start", "reload"]
    socket = (fake.layout.etc / "nginx.env").read_text()
    assert socket == "MMS_ROUTER_SOCKET=/tmp/x.sock\n"
    assert [path.name for path in fake.layout.nginx.iterdir()] == ["nginx.conf"]


def test_a_stopped_nginx_is_started_although_nothing_changed(fake: FakeHost, file: Path) -> None:
    install(fake)
    fake.proxy.running = False
    assert install(fake).changed
    assert fake.proxy.acts == ["start", "start"]


def test_a_check_changes_nothing(fake: FakeHost, file: Path) -> None:
    outcome, _edge = nginx_config.check(fake.layout, parsed(SECTION), {}, fake.proxy)
    assert outcome.changed
    assert "listen 8080" in outcome.after
    assert list(fake.layout.nginx.iterdir()) == []
    assert fake.proxy.acts == []


def test_a_bad_section_names_its_line_and_replaces_nothing(fake: FakeHost, file: Path) -> None:
    install(fake)
    before = file.read_text()
    bad = SECTION.replace("    location", "    bad x;\n    location")
    with pytest.raises(ConfError) as caught:
        install(fake, bad)
    line = (MODELS + bad).splitlines().index("    bad x;") + 1
    assert caught.value.line == line
    assert f'unknown directive "bad" in mms.conf:{line}' in caught.value.cause
    assert file.read_text() == before
    assert fake.proxy.acts == ["start"]
    assert [path.name for path in fake.layout.nginx.iterdir()] == ["nginx.conf"]


def test_a_bad_frame_is_not_the_fault_of_mms_conf(fake: FakeHost, file: Path) -> None:
    fake.write_frame(FRAME.replace("events {}", "events {}\nbad;"))
    for rest in ("", SECTION):
        with pytest.raises(MMSError, match="variables of the role nginx_proxy") as caught:
            install(fake, rest)
        assert not isinstance(caught.value, ConfError)


def test_a_section_that_breaks_the_rest_of_the_file(fake: FakeHost, file: Path) -> None:
    fake.write_frame(FRAME + "bad;\n")
    with pytest.raises(ConfError, match=r"correct \[Nginx Configurations\]") as caught:
        install(fake, SECTION)
    assert caught.value.line == len((MODELS + SECTION).splitlines())


@pytest.mark.parametrize("frame", ["", FRAME.replace("@router_listen@", "80"), "http {}\n"])
def test_a_frame_without_marks(fake: FakeHost, file: Path, frame: str) -> None:
    fake.write_frame(frame)
    with pytest.raises(MMSError, match="run the role nginx_proxy"):
        install(fake)


def test_without_a_frame(fake: FakeHost) -> None:
    with pytest.raises(MMSError, match=r"nginx.conf.frame cannot be read.*role nginx_proxy"):
        install(fake)


def test_a_failed_reload_restores_the_old_file(fake: FakeHost, file: Path) -> None:
    install(fake)
    before = file.read_text()
    fake.proxy.refuses_reload = True
    with pytest.raises(SupervisorError, match="bind"):
        install(fake, SECTION)
    assert file.read_text() == before
    fake.proxy.refuses_reload = False
    assert not install(fake).changed
    assert install(fake, SECTION).changed


CLOSING = FRAME.replace(
    "listen 80;", "listen 80;\n        include /etc/mms/nginx.closing.conf;"
).replace("# mms edge: begin", "# mms edge: keepalive_timeout 30\n# mms edge: begin")


def test_connections_are_closed_before_a_reload(fake: FakeHost, file: Path) -> None:
    fake.write_frame(CLOSING)
    install(fake)
    # A start has no connections to wait for, and a run without a change needs no reload.
    install(fake)
    assert fake.proxy.waited_s == 0
    fake.proxy.stubborn = 3
    assert install(fake, BIND).cut == 3
    assert (fake.proxy.waited_s, fake.proxy.acts) == (35, ["start", "reload"])
    assert not fake.proxy.closing.exists()


def test_a_file_left_by_a_killed_run_is_removed_also_after_a_failure(
    fake: FakeHost, file: Path
) -> None:
    fake.write_frame(CLOSING)
    install(fake)
    fake.proxy.closing.touch()
    install(fake)
    assert not fake.proxy.closing.exists()
    fake.proxy.refuses_reload = True
    with pytest.raises(SupervisorError, match="bind"):
        install(fake, BIND)
    assert not fake.proxy.closing.exists()


def test_server_blocks_without_the_snippet_are_not_waited_for(fake: FakeHost, file: Path) -> None:
    install(fake)
    install(fake, BIND)
    assert (fake.proxy.waited_s, fake.proxy.acts) == (0, ["start", "reload"])


def test_a_run_that_was_killed_is_completed(fake: FakeHost, file: Path) -> None:
    install(fake)
    for kill_at in range(2):
        fake.clockwork.kill_at = len(fake.clockwork.events) + kill_at
        with pytest.raises(Killed):
            install(fake, SECTION)
        fake.clockwork.kill_at = None
        fake.proxy.acts.clear()
        assert install(fake, SECTION).changed
        assert fake.proxy.acts == ["reload"]
        assert not install(fake, SECTION).changed
        install(fake)


def test_the_layout_of_a_test_host_is_its_own(tmp_path: Path) -> None:
    assert Layout.under(tmp_path).nginx == tmp_path / "etc/nginx"
