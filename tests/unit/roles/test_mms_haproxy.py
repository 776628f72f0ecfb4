"""A server goes out of HAProxy when its requests have ended, and in when it is healthy."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.modules import load

module: Any = load("mms_balancer", "mms_haproxy")

STATES = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state\n"
STAT = "# pxname,svname,qcur,qmax,scur,smax,status,check_status\n"
MAINTENANCE = 0x01


class FakeHAProxy:
    """Two servers; each look at them is one tick, for ``events`` to happen at."""

    def __init__(self) -> None:
        self.status = {"a": "UP", "b": "UP"}
        self.admin = {"a": 0, "b": 0}
        self.requests = {"a": 0, "b": 0}
        self.check = {"a": "L7OK", "b": "L7OK"}
        self.commands: list[str] = []
        self.refusal = ""
        self.ticks = 0
        self.events: dict[int, Callable[[], None]] = {}

    def ask(self, command: str) -> str:
        if command == "show servers state mms":
            self.ticks += 1
            self.events.get(self.ticks, lambda: None)()
            rows = [f"3 mms 1 {name} 10.0.0.1 2 {self.admin[name]}\n" for name in self.status]
            return STATES + "".join(rows) + "\n"
        if command == "show stat":
            rows = [
                f"mms,{name},0,0,{self.requests[name]},9,{status},{self.check[name]}\n"
                for name, status in self.status.items()
            ]
            front = "clients,FRONTEND,,,3,9,OPEN,\nmms,BACKEND,0,0,9,9,UP,\n"
            return f"{STAT}{front}{''.join(rows)}\nother,a,0,0,7,7,UP,L7OK\n"
        self.commands.append(command)
        if not self.refusal:
            _set, _server, place, _state, state = command.split()
            name = place.partition("/")[2]
            self.admin[name] = {"drain": 0x08, "ready": 0}[state]
            self.status[name] = {"drain": "DRAIN", "ready": "UP"}[state]
        return f"{self.refusal}\n"

    def balancer(self, server: str = "a") -> Any:
        ticking = iter(range(1000))
        return module.Balancer(
            self.ask, "mms", server, clock=lambda: next(ticking) / 10, sleep=lambda _seconds: None
        )

    def act(self, state: str, *, server: str = "a", **more: Any) -> dict[str, Any]:
        check_mode = more.pop("check_mode", False)
        wanted = {"state": state, "allow_last": False, "timeout_s": 5, **more}
        result: dict[str, Any] = module.act(self.balancer(server), wanted, check_mode=check_mode)
        return result


@pytest.fixture
def haproxy() -> FakeHAProxy:
    return FakeHAProxy()


def test_out_waits_for_the_last_request(haproxy: FakeHAProxy) -> None:
    haproxy.requests["a"] = 2
    haproxy.events[6] = lambda: haproxy.requests.update(a=0)
    result = haproxy.act("out")
    assert haproxy.commands == ["set server mms/a state drain"]
    assert (result["changed"], result["status"], haproxy.ticks) == (True, "DRAIN", 6)
    assert result["waited_s"] > 0


def test_out_again_changes_nothing_but_waits(haproxy: FakeHAProxy) -> None:
    haproxy.act("out")
    haproxy.requests["a"] = 1
    haproxy.events[haproxy.ticks + 3] = lambda: haproxy.requests.update(a=0)
    assert not haproxy.act("out")["changed"]
    assert len(haproxy.commands) == 1


def test_requests_that_do_not_end_are_named_and_the_server_stays_out(haproxy: FakeHAProxy) -> None:
    haproxy.requests["a"] = 2
    with pytest.raises(module.BalancerError, match=r"after 5 s 2 of its requests .* Fix: "):
        haproxy.act("out")
    assert haproxy.status["a"] == "DRAIN"


@pytest.mark.parametrize("other", ["DOWN", "DRAIN", "MAINT"])
def test_the_last_server_is_not_taken_out(haproxy: FakeHAProxy, other: str) -> None:
    haproxy.status["b"] = other
    with pytest.raises(module.BalancerError, match=rf"no other server of mms is up.*b {other}"):
        haproxy.act("out")
    with pytest.raises(module.BalancerError, match="no other server"):
        haproxy.act("out", check_mode=True)
    assert haproxy.commands == []
    assert haproxy.act("out", allow_last=True)["changed"]


def test_in_waits_for_health_first(haproxy: FakeHAProxy) -> None:
    haproxy.act("out")
    haproxy.commands.clear()
    haproxy.check["a"] = "* L4CON"

    def heal() -> None:
        assert haproxy.commands == []
        haproxy.check["a"] = "* L7OK"

    haproxy.events[haproxy.ticks + 4] = heal
    result = haproxy.act("in")
    assert haproxy.commands == ["set server mms/a state ready"]
    assert (result["changed"], result["status"]) == (True, "UP")
    assert not haproxy.act("in")["changed"]


def test_in_looks_at_the_health_of_one_in_maintenance(haproxy: FakeHAProxy) -> None:
    haproxy.status["a"], haproxy.admin["a"] = "MAINT", MAINTENANCE
    haproxy.check["a"] = ""
    haproxy.act("in")
    assert [words.rpartition(" ")[2] for words in haproxy.commands] == ["drain", "ready"]


def test_one_that_stays_ill_is_left_out(haproxy: FakeHAProxy) -> None:
    haproxy.act("out")
    haproxy.check["a"], haproxy.status["a"] = "L7STS", "DOWN"
    with pytest.raises(module.BalancerError, match=r"status is DOWN, its health check says L7STS"):
        haproxy.act("in")
    assert haproxy.admin["a"] == module.DRAINED


@pytest.mark.parametrize(("state", "changed"), [("out", True), ("in", False)])
def test_check_mode_says_what_would_change(haproxy: FakeHAProxy, state: str, changed: bool) -> None:
    assert haproxy.act(state, check_mode=True)["changed"] is changed
    assert haproxy.commands == []


def test_what_is_not_there_is_named(haproxy: FakeHAProxy) -> None:
    with pytest.raises(module.BalancerError, match="no server c in mms, only a, b"):
        haproxy.act("out", server="c")
    with pytest.raises(module.BalancerError, match="no servers in a backend mms"):
        module.parse(STAT, STATES, "mms")
    with pytest.raises(module.BalancerError, match="Permission denied"):
        module.parse("Permission denied\n", "Permission denied\n", "mms")


def test_a_command_that_is_refused(haproxy: FakeHAProxy) -> None:
    haproxy.refusal = "Permission denied"
    with pytest.raises(module.BalancerError, match=r"refuses to set a to drain: Permission denied"):
        haproxy.act("out")


def test_a_socket_is_asked_and_read_to_its_end(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    heard: list[bytes] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen(1)

        def answer() -> None:
            connection, _address = listener.accept()
            with connection:
                heard.append(connection.recv(100))
                connection.sendall(b"x" * 100_000)

        server = threading.Thread(target=answer, daemon=True)
        server.start()
        assert module.ask_socket(path)("show stat") == "x" * 100_000
        server.join(10)
    assert heard == [b"show stat\n"]
