"""The NFS server that replaces EFS: nfs-ganesha with NFSv4.1 on the gateway of the hosts."""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from testhosts import locks, network, process
from testhosts.command import require, require_root
from testhosts.errors import InputError, TestHostError
from testhosts.process import Identity
from testhosts.state import State

_TEMPLATE = Path(__file__).with_name("ganesha.conf")
_PORT = 2049
_START_LIMIT_S = 30.0
_END_LIMIT_S = 15.0
_LOCK_LIMIT_S = 60.0
_POLL_S = 0.1


def configuration(state: State, gateway: str) -> str:
    """Return the configuration file of ganesha.

    Raises:
        InputError: a path contains a character that the syntax of ganesha cannot quote.
    """
    for path in (state.efs, state.nfs):
        if '"' in str(path) or "\n" in str(path):
            raise InputError(
                f"{path} contains a quotation mark or a line break.", fix="move the checkout."
            )
    template = Template(_TEMPLATE.read_text(encoding="utf-8"))
    return template.substitute(address=gateway, export=state.efs, recovery=state.nfs / "recovery")


@dataclass(frozen=True)
class NFS:
    """The export of one checkout, at ``<gateway>:/``, with a directory for each of ``groups``.

    Each group of hosts is a separate deployment with its own publications.
    """

    state: State
    gateway: str
    groups: tuple[str, ...] = ()

    @property
    def log(self) -> Path:
        """Log of the server."""
        return self.state.nfs / "ganesha.log"

    @property
    def _process(self) -> Path:
        return self.state.nfs / "process.json"

    def running(self) -> Identity | None:
        """Return the running server, or None."""
        identity = Identity.load(self._process)
        return identity if identity and identity.alive() else None

    def start(self) -> float:
        """Start the server and wait until its port answers; return the elapsed seconds.

        Returns 0.0 if the server is running already.

        Raises:
            BusyError: the server of another checkout has the address.
            TestHostError: the server ended, or did not answer in time.
        """
        require_root()
        require("ganesha.nfsd")
        with self._locked():
            for group in self.groups:
                (self.state.efs / group).mkdir(parents=True, exist_ok=True)
            if self.running():
                return 0.0
            began = time.monotonic()
            for place in (self.state.efs, self.state.nfs / "recovery"):
                place.mkdir(parents=True, exist_ok=True)
            with locks.network(self.state):
                network.up(self.gateway)
            self._launch()
            self._wait(began)
            return time.monotonic() - began

    def stop(self) -> None:
        """Kill the server, as in an outage; clients wait until it is started again."""
        require_root()
        with self._locked():
            identity = Identity.load(self._process)
            if identity:
                # A shutdown would take seconds and release the state of clients, unlike an outage.
                identity.end(signal.SIGKILL, timeout_s=_END_LIMIT_S)
            self._process.unlink(missing_ok=True)

    def status(self) -> dict[str, Any]:
        """Return the output of ``nfs status``."""
        identity = self.running()
        return {
            "state": "running" if identity else "stopped",
            "export": f"{self.gateway}:/",
            "directory": str(self.state.efs),
            "pid": identity.pid if identity else None,
            "log": str(self.log),
        }

    def _locked(self) -> AbstractContextManager[None]:
        return locks.lock(self.state.locks / "nfs", what="the NFS server", timeout_s=_LOCK_LIMIT_S)

    def _launch(self) -> None:
        file = self.state.nfs / "ganesha.conf"
        file.write_text(configuration(self.state, self.gateway), encoding="utf-8")
        held = locks.claim(self.gateway, "NFS server", self.state.directory)
        try:
            identity = process.spawn(
                [
                    *("ganesha.nfsd", "-F", "-f", str(file), "-L", str(self.log)),
                    *("-p", str(self.state.nfs / "ganesha.pid"), "-N", "EVENT"),
                ],
                self.state.nfs / "output.log",
                keep=(held,),
            )
            locks.write_claim(
                held, locks.Claim(identity.pid, "NFS server", str(self.state.directory))
            )
            identity.save(self._process)
        finally:
            os.close(held)

    def _wait(self, began: float) -> None:
        while time.monotonic() < began + _START_LIMIT_S:
            if not self.running():
                break
            try:
                socket.create_connection((self.gateway, _PORT), 1.0).close()
            except OSError:
                time.sleep(_POLL_S)
            else:
                return
        raise TestHostError(
            f"the NFS server does not answer on {self.gateway}:{_PORT}.",
            fix=f"read the end of {self.log}; another NFS server on this machine must be stopped.",
        )
