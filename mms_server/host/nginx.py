"""nginx on this host: its own check of a file, and its unit, with time limits."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

import psutil

from mms_server.core import process
from mms_server.core.errors import SupervisorError
from mms_server.host.systemd import Systemd

UNIT: Final = "nginx.service"
_CHECK_TIMEOUT_S: Final = 60.0
# A request in flight may take as long as nginx waits for its answer.
_STOP_TIMEOUT_S: Final = 600.0
# nginx tries for two and a half seconds to listen on an address that is in use.
_RELOAD_TIMEOUT_S: Final = 20.0
# After client_header_timeout of the frame an old worker has read each request that it will answer.
_FAREWELL_S: Final = 35.0
_PAUSE_S: Final = 0.1
# To look at all connections costs a host more.
_LOOK_PAUSE_S: Final = 0.25


Connection = tuple[str, int, str, int]
"""This side's address and port, and the client's."""


class Proxy(Protocol):
    """What routes requests. All methods raise :class:`SupervisorError` and end in time."""

    def complaint(self, file: Path) -> str:
        """Return what nginx says against a configuration, empty if it is good."""

    def pid(self) -> int:
        """Return the process id of the running nginx, 0 if none runs."""

    def start(self) -> None:
        """Start it; return when it listens."""

    def reload(self) -> None:
        """Let it use its changed configuration; return when its old workers have ended.

        It is not waited for longer than a client may take to send what its connection was made for.
        """

    def drain_keepalive(self, limit_s: float) -> int:
        """Wait until the clients' connections of now have ended; return how many are left."""

    def stop(self) -> None:
        """Stop it after its last request."""


class Nginx:
    """The nginx of a real host."""

    def __init__(
        self,
        systemd: Systemd,
        *,
        error_log: Path = Path("/var/log/nginx/error.log"),
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._systemd = systemd
        self._error_log = error_log
        self._sleep = sleep
        self._clock = clock

    def complaint(self, file: Path) -> str:
        """Return what ``nginx -t`` says against a configuration, empty if it is good."""
        command = ["nginx", "-t", "-q", "-c", str(file)]
        try:
            done = process.run(command, _CHECK_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            cause = f"`{' '.join(command)}` did not end within {_CHECK_TIMEOUT_S:.0f} s."
            raise SupervisorError(UNIT, cause) from error
        except OSError as error:
            cause = f"nginx cannot be run: {error.strerror}."
            raise SupervisorError(UNIT, cause, fix="run the role nginx_proxy.") from error
        if not done.returncode:
            return ""
        return done.stderr.strip() or f"nginx -t ended with {done.returncode}."

    def pid(self) -> int:
        """Return the process id of nginx's master, 0 if none runs."""
        text = self._systemd.systemctl(UNIT, "show", "--property=MainPID", "--value", UNIT)
        return int(text.strip() or 0)

    def start(self) -> None:
        """Start it; return when it listens."""
        self._systemd.systemctl(UNIT, "start", UNIT)

    def reload(self) -> None:
        """Let it use its changed configuration; return when its old workers have ended.

        A reload that fails, because an address is in use, is told in nginx's log only: what tells
        that it worked are new worker processes. nginx starts them 0.1 s and more before it tells
        the old ones to end, which answer until then, and after it on connections they accepted.
        """
        pid = self.pid()
        before = _children(pid)
        seen = self._log_size()
        self._systemd.systemctl(UNIT, "reload", UNIT)
        deadline = self._clock() + _RELOAD_TIMEOUT_S
        while not _children(pid) - before:
            failed = self._emergencies(seen)
            if "still could not bind" in failed or self._clock() >= deadline:
                cause = f"nginx did not take the new configuration: {failed or 'no new worker'}."
                fix = "free the address, or correct [Nginx Configurations] and --bind of mms.conf."
                raise SupervisorError(UNIT, cause, fix=fix)
            self._sleep(_PAUSE_S)
        deadline = self._clock() + _FAREWELL_S
        while before & _children(pid) and self._clock() < deadline:
            self._sleep(_PAUSE_S)

    def drain_keepalive(self, limit_s: float) -> int:
        """Wait until the clients' connections of now have ended; return how many are left.

        They end if nginx says so in its answers: see :mod:`mms_server.deploy.nginx_config`.
        """
        pid = self.pid()
        before = _clients(pid)
        deadline = self._clock() + limit_s
        while left := before & _clients(pid):
            if self._clock() >= deadline:
                return len(left)
            self._sleep(_LOOK_PAUSE_S)
        return 0

    def stop(self) -> None:
        """Stop it after its last request."""
        self._systemd.systemctl(UNIT, "stop", UNIT, timeout_s=_STOP_TIMEOUT_S)

    def _log_size(self) -> int:
        try:
            return self._error_log.stat().st_size
        except OSError:
            return 0

    def _emergencies(self, since: int) -> str:
        try:
            with self._error_log.open("rb") as stream:
                stream.seek(since)
                lines = stream.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return ""
        words = (line.partition("[emerg]")[2].strip() for line in lines)
        return " | ".join(dict.fromkeys(word.partition(": ")[2] for word in words if word))


def _clients(pid: int) -> frozenset[Connection]:
    """Return the TCP connections that processes of nginx have accepted."""
    found: list[Any] = []
    try:
        master = psutil.Process(pid) if pid else None
    except psutil.NoSuchProcess:
        return frozenset()
    for running in [master, *master.children()] if master else ():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            found += running.net_connections(kind="tcp")
    ports = {each.laddr.port for each in found if each.status == psutil.CONN_LISTEN}
    return frozenset(
        (*each.laddr, *each.raddr)
        for each in found
        # A connection to what is behind nginx has a port of its own on this side.
        if each.status == psutil.CONN_ESTABLISHED and each.laddr.port in ports
    )


def _children(pid: int) -> set[int]:
    try:
        return {child.pid for child in psutil.Process(pid).children()}
    except psutil.NoSuchProcess:
        return set()
