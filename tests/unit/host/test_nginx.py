"""nginx's unit and ``nginx -t``: the commands, and how a failed reload is detected."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mms_server.core.errors import SupervisorError
from mms_server.host import nginx
from mms_server.host.systemd import Systemd


class NginxOfProcess(nginx.Nginx):
    """An nginx whose master is a process of the test."""

    def __init__(self, pid: int) -> None:
        super().__init__(Systemd())
        self._pid = pid

    def pid(self) -> int:
        return self._pid


EMERGENCY = "2026/01/01 00:00:00 [emerg] 7#7: "


class FakeSystemd(Systemd):
    """Its nginx is this process; a reload starts a child, or writes ``says`` into the log."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.says = ""
        self.words: list[tuple[str, ...]] = []
        self.children: list[subprocess.Popen[bytes]] = []
        self.ends_after_looks = 0
        self.looks = 0

    def look(self, _seconds: float) -> None:
        """Count the polls; at one of them the first worker ends."""
        self.looks += 1
        if self.looks == self.ends_after_looks:
            self.children[0].kill()
            self.children[0].wait(10)

    def systemctl(self, unit: str, *words: str, timeout_s: float = 60) -> str:
        assert unit == "nginx.service"
        self.words.append(words)
        if words[0] == "show":
            return f"{os.getpid()}\n"
        if words[0] == "reload" and self.says:
            with self.log.open("a") as stream:
                stream.write(self.says)
        elif words[0] == "reload":
            self.children.append(subprocess.Popen(["sleep", "60"]))
        return ""


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[FakeSystemd]:
    proxy = FakeSystemd(tmp_path / "error.log")
    yield proxy
    for child in proxy.children:
        child.kill()
        child.wait(10)


def make(systemd: FakeSystemd) -> nginx.Nginx:
    clock = iter(range(1000))
    return nginx.Nginx(
        systemd,
        error_log=systemd.log,
        sleep=systemd.look,
        clock=lambda: float(next(clock)),
    )


def test_new_workers_show_that_a_reload_worked(systemd: FakeSystemd) -> None:
    systemd.log.write_text(f"{EMERGENCY}still could not bind()\n")
    make(systemd).reload()
    make(systemd).reload()
    assert len(systemd.children) == 2


def test_a_reload_ends_with_the_old_workers(systemd: FakeSystemd) -> None:
    make(systemd).reload()
    systemd.ends_after_looks = 5
    make(systemd).reload()
    assert systemd.looks == 5


def test_the_wait_for_an_old_worker_is_limited(systemd: FakeSystemd) -> None:
    make(systemd).reload()
    make(systemd).reload()
    assert 30 < systemd.looks < 40


def test_a_failed_reload_has_the_errors_of_nginx(systemd: FakeSystemd) -> None:
    systemd.log.write_text(f"{EMERGENCY}of old\n")
    bind = "bind() to 0.0.0.0:80 failed (98: Address already in use)\n"
    systemd.says = f"{EMERGENCY}{bind}{EMERGENCY}{bind}{EMERGENCY}still could not bind()\n"
    with pytest.raises(SupervisorError) as caught:
        make(systemd).reload()
    words = f"{bind.strip()} | still could not bind()"
    assert caught.value.cause == f"nginx did not take the new configuration: {words}."


def test_a_reload_without_new_workers_times_out(systemd: FakeSystemd) -> None:
    systemd.says = "2026/01/01 00:00:00 [notice] 7#7: nothing happens\n"
    with pytest.raises(SupervisorError, match="no new worker"):
        make(systemd).reload()


SERVER = """
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
held = [listener.accept()[0] for _ in range(2)]
print("accepted", flush=True)
# A connection to an upstream is not a client's.
back = socket.create_connection(held[0].getsockname())
sys.stdin.readline()
held[0].close()
sys.stdin.readline()
"""


def test_it_waits_for_present_connections_of_clients_only() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        address = ("127.0.0.1", int(server.stdout.readline()))
        with socket.create_connection(address) as first, socket.create_connection(address):
            assert server.stdout.readline() == "accepted\n"
            proxy = NginxOfProcess(server.pid)
            assert proxy.drain_keepalive(0.3) == 2
            server.stdin.write("\n")
            server.stdin.flush()
            assert first.recv(1) == b""
            assert proxy.drain_keepalive(0.3) == 1
        server.kill()
    assert proxy.drain_keepalive(0.3) == 0


def test_start_stop_and_pid(systemd: FakeSystemd) -> None:
    proxy = make(systemd)
    proxy.start()
    proxy.stop()
    assert proxy.pid() == os.getpid()
    assert [words[0] for words in systemd.words] == ["start", "stop", "show"]


@pytest.mark.parametrize(
    ("script", "errors"),
    [
        ("exit 0", ""),
        ("echo 'nginx: [emerg] no' >&2; exit 1", "nginx: [emerg] no"),
        ("exit 1", "nginx -t ended with 1."),
    ],
)
def test_the_check_of_a_configuration(
    systemd: FakeSystemd,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    errors: str,
) -> None:
    program = tmp_path / "bin" / "nginx"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\n[ "$*" = "-t -q -c /x.conf" ] || exit 9\n{script}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    assert make(systemd).check_config(Path("/x.conf")) == errors


def test_a_missing_nginx_and_one_that_hangs(
    systemd: FakeSystemd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SupervisorError, match="run the role nginx_proxy"):
        make(systemd).check_config(Path("/x.conf"))
    (tmp_path / "nginx").write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    (tmp_path / "nginx").chmod(0o755)
    monkeypatch.setattr(nginx, "_CHECK_TIMEOUT_S", 0.1)
    with pytest.raises(SupervisorError, match="did not end within"):
        make(systemd).check_config(Path("/x.conf"))
