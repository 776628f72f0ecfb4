"""Connect to a host by ssh, always with a time limit."""

from __future__ import annotations

import shlex
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from testhosts.command import environment, run
from testhosts.errors import CommandError, TestHostError

USER = "admin"
_PORT = 22
_CONNECT_LIMIT_S = 10
_BANNER_LIMIT_S = 2.0
_LOGIN_LIMIT_S = 30.0
_POLL_S = 0.25


@dataclass(frozen=True)
class SSH:
    """The ssh connection to one host; its host key is not stored, as each image has a new one."""

    name: str
    address: str
    key: Path

    def argv(self, *command: str, interactive: bool = False) -> list[str]:
        """Return the ssh command line."""
        options = {
            "BatchMode": "no" if interactive else "yes",
            "ConnectTimeout": str(_CONNECT_LIMIT_S),
            "IdentitiesOnly": "yes",
            "LogLevel": "ERROR",
            # Without these options, a session to a disconnected or killed host would never end.
            "ServerAliveInterval": "5",
            "ServerAliveCountMax": "6",
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
        }
        words = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        return ["ssh", "-i", str(self.key), *words, f"{USER}@{self.address}", *command]

    def run(
        self, command: str | Sequence[str], timeout_s: float
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end.

        Raises:
            TestHostError: the command took longer than ``timeout_s``.
        """
        line = command if isinstance(command, str) else shlex.join(command)
        try:
            return run(self.argv(line), timeout_s=timeout_s, check=False)
        except CommandError as error:
            raise TestHostError(
                f"`{line}` on {self.name} took longer than {timeout_s:g} s.",
                fix="`python -m testhosts list` shows whether the host is running or cut off.",
            ) from error

    def session(self, command: Sequence[str]) -> int:
        """Run a command or a shell on this terminal, without a time limit; return its exit code."""
        argv = self.argv(*command, interactive=True)
        return subprocess.run(argv, check=False, env=environment()).returncode

    def wait(self, failure_reason: Callable[[], str], timeout_s: float) -> float:
        """Wait until the user can log in; return the elapsed seconds.

        Raises:
            TestHostError: no login within ``timeout_s``, or ``failure_reason`` returned a reason.
        """
        began = time.monotonic()
        deadline = began + timeout_s
        last = "no answer on port 22"
        while (left := deadline - time.monotonic()) > 0:
            reason = failure_reason()
            if reason:
                raise TestHostError(f"host {self.name} does not boot: {reason}", fix=_FIX)
            if self._listens():
                with suppress(TestHostError):
                    done = self.run("true", min(_LOGIN_LIMIT_S, max(left, 1.0)))
                    if done.returncode == 0:
                        return time.monotonic() - began
                    last = done.stderr.strip() or f"ssh ended with {done.returncode}"
            time.sleep(_POLL_S)
        raise TestHostError(
            f"host {self.name} ({self.address}) took no login within {timeout_s:g} s: {last}",
            fix=_FIX,
        )

    def _listens(self) -> bool:
        """Return whether an ssh server sends its banner; cheaper for a booting guest than ssh."""
        try:
            with socket.create_connection((self.address, _PORT), _BANNER_LIMIT_S) as connection:
                connection.settimeout(_BANNER_LIMIT_S)
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False


_FIX = "read console.log and supervisor.log in the directory of the host (see `list --json`)."
