"""nginx on this host: ``nginx -t``, and its systemd unit, with time limits."""

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
# A request in flight may take as long as nginx waits for the answer.
_STOP_TIMEOUT_S: Final = 600.0
# nginx tries for 2.5 s to listen on an address that is in use.
_RELOAD_TIMEOUT_S: Final = 20.0
# After the frame's client_header_timeout an old worker has read each request that it will answer.
_OLD_WORKERS_TIMEOUT_S: Final = 35.0
_POLL_S: Final = 0.1
# Listing all connections costs a host more.
_CONNECTIONS_POLL_S: Final = 0.25


Connection = tuple[str, int, str, int]
"""The address and port of nginx, and those of the client."""


class Proxy(Protocol):
    """The proxy in front of the releases.

    All methods end within a time limit and raise :class:`SupervisorError`.
    """

    def check_config(self, file: Path) -> str:
        """Return the errors of nginx in a configuration file; empty if it is valid."""

    def pid(self) -> int:
        """Return the process id of the running nginx; 0 if none runs."""

    def start(self) -> None:
        """Start nginx; return when it listens."""

    def reload(self) -> None:
        """Let nginx read its configuration again; return when its old workers have ended.

        The wait is limited to the time that a client has for sending a request.
        """

    def drain_keepalive(self, limit_s: float) -> int:
        """Wait until the present connections of clients have ended; return how many are left."""

    def stop(self) -> None:
        """Stop nginx after its last request."""


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

    def check_config(self, file: Path) -> str:
        """Return the errors of ``nginx -t`` in a configuration file; empty if it is valid."""
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
        """Return the process id of nginx's master; 0 if none runs."""
        text = self._systemd.systemctl(UNIT, "show", "--property=MainPID", "--value", UNIT)
        return int(text.strip() or 0)

    def start(self) -> None:
        """Start nginx; return when it listens."""
        self._systemd.systemctl(UNIT, "start", UNIT)

    def reload(self) -> None:
        """Let nginx read its configuration again; return when its old workers have ended.

        nginx reports a failed reload, as when an address is in use, in its error log only. New
        worker processes show that the reload worked. nginx starts them 0.1 s and more before it
        ends the old ones. Old workers answer until then, and later on connections that they have
        accepted.
        """
        pid = self.pid()
        before = _children(pid)
        offset = self._log_size()
        self._systemd.systemctl(UNIT, "reload", UNIT)
        deadline = self._clock() + _RELOAD_TIMEOUT_S
        while not _children(pid) - before:
            errors = self._emergencies(offset)
            if "still could not bind" in errors or self._clock() >= deadline:
                cause = f"nginx did not take the new configuration: {errors or 'no new worker'}."
                fix = "free the address, or correct [Nginx Configurations] and --bind of mms.conf."
                raise SupervisorError(UNIT, cause, fix=fix)
            self._sleep(_POLL_S)
        deadline = self._clock() + _OLD_WORKERS_TIMEOUT_S
        while before & _children(pid) and self._clock() < deadline:
            self._sleep(_POLL_S)

    def drain_keepalive(self, limit_s: float) -> int:
        """Wait until the present connections of clients have ended; return how many are left.

        They end if nginx closes them after its next answer: see
        :mod:`mms_server.deploy.nginx_config`.
        """
        pid = self.pid()
        before = _client_connections(pid)
        deadline = self._clock() + limit_s
        while left := before & _client_connections(pid):
            if self._clock() >= deadline:
                return len(left)
            self._sleep(_CONNECTIONS_POLL_S)
        return 0

    def stop(self) -> None:
        """Stop nginx after its last request."""
        self._systemd.systemctl(UNIT, "stop", UNIT, timeout_s=_STOP_TIMEOUT_S)

    def _log_size(self) -> int:
        try:
            return self._error_log.stat().st_size
        except OSError:
            return 0

    def _emergencies(self, offset: int) -> str:
        """Return the texts of level ``emerg`` in the error log after ``offset``, each once."""
        try:
            with self._error_log.open("rb") as stream:
                stream.seek(offset)
                lines = stream.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return ""
        texts = (line.partition("[emerg]")[2].strip() for line in lines)
        return " | ".join(dict.fromkeys(text.partition(": ")[2] for text in texts if text))


def _client_connections(pid: int) -> frozenset[Connection]:
    """Return the TCP connections that the processes of nginx have accepted."""
    found: list[Any] = []
    try:
        master = psutil.Process(pid) if pid else None
    except psutil.NoSuchProcess:
        return frozenset()
    for nginx_process in [master, *master.children()] if master else ():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            found += nginx_process.net_connections(kind="tcp")
    ports = {socket.laddr.port for socket in found if socket.status == psutil.CONN_LISTEN}
    return frozenset(
        (*socket.laddr, *socket.raddr)
        for socket in found
        # A connection to an upstream has an ephemeral local port.
        if socket.status == psutil.CONN_ESTABLISHED and socket.laddr.port in ports
    )


def _children(pid: int) -> set[int]:
    try:
        return {child.pid for child in psutil.Process(pid).children()}
    except psutil.NoSuchProcess:
        return set()
