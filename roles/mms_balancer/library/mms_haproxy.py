#!/usr/bin/python
"""Ansible module: drain a server in HAProxy, or put it back. Runs there, with the stdlib only."""

from __future__ import annotations

import csv
import io
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: mms_haproxy
short_description: Drain a server in HAProxy, or put it back
description:
  - C(out) sets the state C(drain) of HAProxy, in which health checks continue. The module returns
    when the server has no open requests. It does not take out the last server that is up.
  - C(in) waits until the server passes its health check, and then until it takes requests.
options:
  socket:
    description: Command socket of HAProxy, with the level C(admin).
    type: path
    required: true
  backend:
    description: Name of the backend.
    type: str
    required: true
  server:
    description: Name of the server in the backend.
    type: str
    required: true
  state:
    description: Whether the server should take requests.
    type: str
    choices: [in, out]
    required: true
  allow_last:
    description: Whether the server may be taken out if no other server is up.
    type: bool
    default: false
  timeout_s:
    description: Time limit of each wait, in seconds.
    type: int
    default: 330
author: the mms-hosts project
"""

EXAMPLES = r"""
- name: Drain a host
  mms_haproxy:
    socket: /run/haproxy/admin.sock
    backend: mms
    server: "{{ inventory_hostname }}"
    state: out
  delegate_to: balancer-1
"""

RETURN = r"""
status:
  description: Status of the server in HAProxy at the end.
  returned: success
  type: str
waited_s:
  description: Seconds spent waiting for the last requests or for the health check.
  returned: success
  type: float
"""

ANSWER_TIMEOUT_S = 10.0
PAUSE_S = 0.2
# Bits of srv_admin_state: maintenance and drain, by a command or by the configuration.
OUT_BITS = 0x01 | 0x02 | 0x04 | 0x08 | 0x10
DRAINED = 0x08

Ask = Callable[[str], str]


class BalancerError(Exception):
    """HAProxy did not reach the requested state; the text is the message of the module."""


@dataclass(frozen=True)
class Server:
    """State of a server in HAProxy; ``requests`` counts open and queued requests."""

    name: str
    status: str
    admin: int
    requests: int
    check: str

    @property
    def takes_requests(self) -> bool:
        """Whether HAProxy sends new requests to the server."""
        return self.status in {"UP", "no check"} and not self.admin & OUT_BITS

    @property
    def healthy(self) -> bool:
        """Whether the last health check succeeded; true if there are no health checks."""
        return self.check in {"", "L4OK", "L6OK", "L7OK"}


def parse(stat: str, states: str, backend: str) -> dict[str, Server]:
    """Return the servers of a backend, from ``show stat`` and ``show servers state``.

    Raises:
        BalancerError: the output is not that of HAProxy, or there is no such backend.
    """
    lines = [line.split() for line in states.splitlines()]
    names = next((words[1:] for words in lines if words[:2] == ["#", "be_id"]), [])
    admin = {
        row["srv_name"]: int(row["srv_admin_state"])
        for row in (
            dict(zip(names, words, strict=True)) for words in lines if len(words) == len(names)
        )
        if row.get("be_name") == backend
    }
    rows = csv.DictReader(io.StringIO(stat.removeprefix("# ")))
    found = {
        row["svname"]: Server(
            row["svname"], row["status"], admin[row["svname"]],
            int(row["scur"] or 0) + int(row["qcur"] or 0),
            # HAProxy puts "* " before the last result while a check is running.
            (row["check_status"] or "").removeprefix("* "),
        )
        for row in rows
        if row.get("pxname") == backend and row.get("svname") in admin
    }  # fmt: skip
    if not found:
        message = (
            f"HAProxy has no servers in a backend {backend}: {(stat or states).strip()[:200]!r}. "
            "Fix: run the role haproxy_lb, or correct mms_balancer_haproxy_backend."
        )
        raise BalancerError(message)
    return found


class Balancer:
    """One server of one backend; ``ask`` sends a command to HAProxy and returns the response."""

    def __init__(
        self, ask: Ask, backend: str, server: str, *,
        clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        self._ask = ask
        self._backend = backend
        self._server = server
        self._clock = clock
        self._sleep = sleep
        self.waited_s = 0.0

    def read(self) -> tuple[Server, list[Server]]:
        """Return the server, and the other servers of its backend.

        Raises:
            BalancerError: there is no such server.
        """
        states = self._ask(f"show servers state {self._backend}")
        found = parse(self._ask("show stat"), states, self._backend)
        if self._server not in found:
            message = (
                f"HAProxy has no server {self._server} in {self._backend}, only "
                f"{', '.join(found)}. "
                "Fix: run the role haproxy_lb, or correct mms_balancer_haproxy_server."
            )
            raise BalancerError(message)
        mine = found.pop(self._server)
        return mine, list(found.values())

    def drain(self, timeout_s: float, *, allow_last: bool, check_mode: bool) -> tuple[bool, str]:
        """Send no new requests to the server; return when its open requests have ended.

        Raises:
            BalancerError: no other server is up, or its requests did not end in time; in the latter
                case the server stays drained.
        """
        mine, others = self.read()
        change = not mine.admin & OUT_BITS
        if change and not allow_last and not any(each.takes_requests for each in others):
            statuses = ", ".join(f"{each.name} {each.status}" for each in others)
            message = (
                f"{self._server} was not taken out: no other server of {self._backend} is up, so "
                f"clients would get errors ({statuses or 'it is the only one'}). "
                "Fix: start another server, or set mms_balancer_allow_last."
            )
            raise BalancerError(message)
        if check_mode:
            return change, mine.status
        if change:
            self._set("drain")
        last = self._wait(lambda now: now.requests == 0 and bool(now.admin & OUT_BITS), timeout_s)
        if last.requests:
            message = (
                f"{self._server} is out of {self._backend}, but after {timeout_s:g} s "
                f"{last.requests} of its requests have not ended. "
                "Fix: check the access.log of nginx, or increase mms_balancer_timeout_s."
            )
            raise BalancerError(message)
        return change, last.status

    def put_back(self, timeout_s: float, *, check_mode: bool) -> tuple[bool, str]:
        """Send requests to the server again when it is healthy; return when it takes requests.

        Raises:
            BalancerError: the server did not become healthy in time; its state is unchanged.
        """
        mine, _others = self.read()
        change = bool(mine.admin & OUT_BITS)
        if check_mode:
            return change, mine.status
        # In maintenance HAProxy runs no health checks, so the server is drained first.
        if change and not mine.admin & DRAINED:
            self._set("drain")
        last = self._wait(lambda now: now.healthy and not now.status.startswith("DOWN"), timeout_s)
        if last.healthy and change:
            self._set("ready")
        if last.healthy:
            last = self._wait(lambda now: now.takes_requests, timeout_s)
        if not last.takes_requests:
            message = (
                f"{self._server} takes no requests from {self._backend} after {timeout_s:g} s: "
                f"its status is {last.status}, its health check says {last.check or 'nothing'}. "
                "Fix: check `mms status` and `systemctl status nginx` on the host."
            )
            raise BalancerError(message)
        return change, last.status

    def _set(self, state: str) -> None:
        answer = self._ask(f"set server {self._backend}/{self._server} state {state}").strip()
        if answer:
            message = (
                f"HAProxy refuses to set {self._server} to {state}: {answer} "
                "Fix: configure its socket with the level admin, as the role haproxy_lb does."
            )
            raise BalancerError(message)

    def _wait(self, done: Callable[[Server], bool], timeout_s: float) -> Server:
        began = self._clock()
        while True:
            mine = self.read()[0]
            if done(mine) or self._clock() - began >= timeout_s:
                self.waited_s += self._clock() - began
                return mine
            self._sleep(PAUSE_S)


def ask_socket(path: str) -> Ask:
    """Return a function that sends one command to the socket and returns the whole response."""

    def ask(command: str) -> str:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ANSWER_TIMEOUT_S)
            connection.connect(path)
            connection.sendall(command.encode() + b"\n")
            parts = []
            while part := connection.recv(65536):
                parts.append(part)
        return b"".join(parts).decode("utf-8", "replace")

    return ask


def act(balancer: Balancer, wanted: dict[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """Bring the server to the requested state; return the result of the module.

    Raises:
        BalancerError: HAProxy or the server did not reach the state.
        OSError: the socket cannot be used.
    """
    timeout_s = wanted["timeout_s"]
    if wanted["state"] == "out":
        last = wanted["allow_last"]
        changed, status = balancer.drain(timeout_s, allow_last=last, check_mode=check_mode)
    else:
        changed, status = balancer.put_back(timeout_s, check_mode=check_mode)
    return {"changed": changed, "status": status, "waited_s": round(balancer.waited_s, 1)}


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "socket": {"type": "path", "required": True},
            "backend": {"type": "str", "required": True},
            "server": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["in", "out"], "required": True},
            "allow_last": {"type": "bool", "default": False},
            "timeout_s": {"type": "int", "default": 330},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    balancer = Balancer(ask_socket(wanted["socket"]), wanted["backend"], wanted["server"])
    try:
        result = act(balancer, wanted, check_mode=module.check_mode)
    except BalancerError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(
            msg=f"HAProxy does not answer at {wanted['socket']}: {error}. "
            "Fix: run the role haproxy_lb, and check `systemctl status haproxy` on that host."
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
