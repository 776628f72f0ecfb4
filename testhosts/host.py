"""One test host: create, start, kill, disconnect, destroy, and run commands on it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testhosts import locks, network, process
from testhosts.command import require_root
from testhosts.errors import BusyError, InputError, TestHostError
from testhosts.inventory import HostSpec
from testhosts.process import Identity
from testhosts.ssh import SSH
from testhosts.state import HostFiles, State
from testhosts.supervisor import Record

BOOT_LIMIT_S = 180.0
_LOCK_LIMIT_S = 240.0
_END_LIMIT_S = 15.0
_POLL_S = 0.25
_BOOT_ID = "cat /proc/sys/kernel/random/boot_id"
_GUEST_MEMORY = Path("/dev/shm")  # noqa: S108 - User-Mode Linux keeps guest memory there


@dataclass(frozen=True)
class Host:
    """A host by name. ``wanted`` is its specification in the inventory, None if it is not in it.

    ``image`` returns the image for a new disk, and builds it first if necessary.
    """

    state: State
    name: str
    wanted: HostSpec | None
    image: Callable[[], str]

    @property
    def files(self) -> HostFiles:
        """The host's files."""
        return self.state.host(self.name)

    @property
    def record(self) -> Record | None:
        """The record of the creation of the host, None if the host does not exist."""
        return Record.load(self.files.record)

    @property
    def spec(self) -> HostSpec:
        """The specification of the existing host, else the one in the inventory."""
        record = self.record
        spec = record.spec if record else self.wanted
        if spec is None:
            raise InputError(
                f"there is no host {self.name!r}.",
                fix="`python -m testhosts list` shows all hosts.",
            )
        return spec

    def existing(self) -> Record:
        """Return the record of a host that must exist."""
        record = self.record
        if record is None:
            raise TestHostError(
                f"host {self.name} does not exist.",
                fix=f"run `python -m testhosts create {self.name}`.",
            )
        return record

    def running(self) -> Identity | None:
        """Return the running supervisor, or None."""
        identity = Identity.load(self.files.process)
        return identity if identity and identity.alive() else None

    def create(self, *, timeout_s: float = BOOT_LIMIT_S) -> float:
        """Boot the host, with a new disk unless it has one; return the elapsed seconds.

        Returns 0.0 if the host is running already.

        Raises:
            BusyError: a running host of another checkout has the address.
            TestHostError: the host exists with other settings, or did not boot in time.
        """
        spec = self.wanted or self.spec
        with self._locked():
            record, identity = self.record, self.running()
            if record and identity:
                self._refuse_drift(record.spec, spec)
                self._plug_in(spec)  # it may be disconnected, or its bridge removed
                self.ssh_client.wait(self.failure_reason, timeout_s)
                return 0.0
            if record and record.spec.address != spec.address:
                self._refuse_drift(record.spec, spec)
            image = record.image if record else self.image()
            _require_free(spec)
            self.files.directory.mkdir(parents=True, exist_ok=True)
            Record(spec, image).save(self.files.record)
            return self._boot(spec, timeout_s)

    def start(self, *, timeout_s: float = BOOT_LIMIT_S) -> float:
        """Boot an existing host from its disk; return the elapsed seconds."""
        with self._locked():
            record = self.existing()
            if self.running():
                return 0.0
            _require_free(record.spec)
            return self._boot(record.spec, timeout_s)

    def kill(self) -> None:
        """Power the host off without a shutdown: the guest cannot write anything more."""
        with self._locked():
            self.existing()
            self._end()

    def destroy(self) -> None:
        """Stop the host and remove its disk and its tap; do nothing if it does not exist."""
        with self._locked():
            spec = self.record.spec if self.record else self.wanted
            self._end()
            owner = locks.holder(spec.address) if spec else None
            if spec and owner is None:
                network.tap_down(spec.address)
            shutil.rmtree(self.files.directory, ignore_errors=True)

    def cut(self) -> None:
        """Disconnect the running host from the network."""
        require_root()
        self.require_running()
        network.cut(self.spec.address)

    def restore(self) -> None:
        """Undo :meth:`cut`."""
        require_root()
        self.require_running()
        network.restore(self.spec.address, self.spec.gateway)

    def wait_ssh(self, timeout_s: float = BOOT_LIMIT_S) -> float:
        """Wait until ``admin`` can log in; return the elapsed seconds."""
        return self.ssh_client.wait(self.failure_reason, timeout_s)

    def ssh(
        self, command: str | Sequence[str], timeout_s: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as ``admin``; return its output and exit code (255: ssh itself failed).

        A string is passed to the remote shell; a list is quoted word by word.
        """
        return self.ssh_client.run(command, timeout_s)

    def reboot(self, timeout_s: float = BOOT_LIMIT_S) -> float:
        """Reboot the host with systemctl, as an operator does; return the elapsed seconds.

        Raises:
            TestHostError: the host did not reboot in time.
        """
        self.require_running()
        began = time.monotonic()
        before = self.ssh(_BOOT_ID).stdout
        self.ssh("sudo systemctl reboot")
        while (left := timeout_s - (time.monotonic() - began)) > 0:
            # The old system still answers for a while, so the boot id is compared.
            self.wait_ssh(left)
            now = self.ssh(_BOOT_ID)
            if now.returncode == 0 and now.stdout != before:
                return time.monotonic() - began
            time.sleep(_POLL_S)
        raise TestHostError(
            f"host {self.name} did not reboot within {timeout_s:g} s.",
            fix=f"read {self.files.log}.",
        )

    @property
    def ssh_client(self) -> SSH:
        """The ssh connection to the host."""
        return SSH(self.name, self.spec.address, self.state.ssh_key)

    def status(self) -> dict[str, Any]:
        """Return the row of the host in ``list --json``."""
        identity, record, spec = self.running(), self.record, self.spec
        state = "running" if identity else "stopped" if record else "absent"
        disk = self.files.disk
        return {
            "name": self.name,
            "address": spec.address,
            "memory_mib": spec.memory_mib,
            "state": state,
            "cut": bool(identity) and network.is_cut(spec.address),
            "pid": identity.pid if identity else None,
            "image": record.image if record else None,
            "disk_mib": disk.stat().st_blocks * 512 // 2**20 if disk.exists() else 0,
            "directory": str(self.files.directory),
        }

    def failure_reason(self) -> str:
        """Return the reason why the host is off, or an empty string while it is running."""
        if self.running():
            return ""
        return (
            f"it is off. Log of its supervisor:\n{_tail(self.files.log)}\n"
            f"Log of its console:\n{_tail(self.files.console)}"
        )

    def _locked(self) -> AbstractContextManager[None]:
        require_root()
        return locks.lock(
            self.state.locks / f"host-{self.name}",
            what=f"host {self.name}",
            timeout_s=_LOCK_LIMIT_S,
        )

    def require_running(self) -> None:
        """Raise TestHostError unless the host exists and is running."""
        self.existing()
        if not self.running():
            raise TestHostError(
                f"host {self.name} is not running.",
                fix=f"run `python -m testhosts start {self.name}`.",
            )

    def _refuse_drift(self, is_now: HostSpec, wanted: HostSpec) -> None:
        if is_now != wanted:
            raise TestHostError(
                f"host {self.name} exists with {is_now.memory_mib} MiB at {is_now.address}, but "
                f"the inventory has {wanted.memory_mib} MiB at {wanted.address}.",
                fix=f"run `python -m testhosts destroy {self.name}` first.",
            )

    def _boot(self, spec: HostSpec, timeout_s: float) -> float:
        began = time.monotonic()
        self._plug_in(spec)
        argv = [sys.executable, "-m", "testhosts.supervisor", str(self.state.directory), self.name]
        identity = process.spawn(argv, self.files.log)
        identity.save(self.files.process)
        self.ssh_client.wait(self.failure_reason, timeout_s)
        return time.monotonic() - began

    def _plug_in(self, spec: HostSpec) -> None:
        with locks.network(self.state):
            network.up(spec.gateway)
            network.tap_up(spec.address, spec.gateway)

    def _end(self) -> None:
        identity = Identity.load(self.files.process)
        if identity:
            identity.end(timeout_s=_END_LIMIT_S)
        self.files.process.unlink(missing_ok=True)
        record = self.record
        deadline = time.monotonic() + _END_LIMIT_S
        # The kernel of the guest holds the claim too: a free claim means that the host has ended.
        while record and (owner := locks.holder(record.spec.address)):
            if owner.directory != str(self.state.directory):
                return
            if time.monotonic() > deadline:
                raise BusyError(f"host {self.name}", str(owner), fix="end that process.")
            time.sleep(_POLL_S)


def _require_free(spec: HostSpec) -> None:
    """Raise an error unless the address and enough memory are free."""
    owner = locks.holder(spec.address)
    if owner is not None:
        raise locks.busy_address(spec.address, owner)
    memory = os.statvfs(_GUEST_MEMORY)
    free_mib = memory.f_bavail * memory.f_frsize // 2**20
    if free_mib < spec.memory_mib:
        raise TestHostError(
            f"{spec.name} needs {spec.memory_mib} MiB; {_GUEST_MEMORY} has {free_mib} MiB free.",
            fix="destroy other hosts, or enlarge /dev/shm: `mount -o remount,size=8G /dev/shm`.",
        )


def _tail(file: Path, lines: int = 15) -> str:
    try:
        return "\n".join(file.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return "(nothing)"
