"""One test host: create, start, kill, cut off, destroy, and talk to it."""

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
_MEMORY_PLACE = Path("/dev/shm")  # noqa: S108 - where User-Mode Linux keeps a guest's memory


@dataclass(frozen=True)
class Host:
    """A host by name. ``wanted`` is what the inventory says, None for a host it no longer has.

    ``image`` returns the image for a new disk, building it first if need be.
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
        """What the host was created with, None when it does not exist."""
        return Record.load(self.files.record)

    @property
    def spec(self) -> HostSpec:
        """What the host is, or would be."""
        record = self.record
        spec = record.spec if record else self.wanted
        if spec is None:
            raise InputError(
                f"there is no host {self.name!r}.", fix="`python -m testhosts list` shows them."
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
        """Return the living supervisor, if any."""
        identity = Identity.load(self.files.process)
        return identity if identity and identity.alive() else None

    def create(self, *, timeout_s: float = BOOT_LIMIT_S) -> float:
        """Boot the host, with a new disk unless it has one; return the seconds taken.

        Does nothing when it runs already (0.0).

        Raises:
            BusyError: another checkout's living host has the address.
            TestHostError: it runs with other settings than wanted, or did not boot in time.
        """
        spec = self.wanted or self.spec
        with self._locked():
            record, identity = self.record, self.running()
            if record and identity:
                self._refuse_drift(record.spec, spec)
                self._plug_in(spec)  # it may have been cut off, or its bridge removed
                self.ssh_client.wait(self.dead, timeout_s)
                return 0.0
            if record and record.spec.address != spec.address:
                self._refuse_drift(record.spec, spec)
            image = record.image if record else self.image()
            _require_free(spec)
            self.files.directory.mkdir(parents=True, exist_ok=True)
            Record(spec, image).save(self.files.record)
            return self._boot(spec, timeout_s)

    def start(self, *, timeout_s: float = BOOT_LIMIT_S) -> float:
        """Boot an existing host from the disk it has, plugged into the network; return seconds."""
        with self._locked():
            record = self.existing()
            if self.running():
                return 0.0
            _require_free(record.spec)
            return self._boot(record.spec, timeout_s)

    def kill(self) -> None:
        """Take the power away: nothing in the guest gets a chance to write anything."""
        with self._locked():
            self.existing()
            self._end()

    def destroy(self) -> None:
        """End the host and remove its disk and its tap; does nothing when it does not exist."""
        with self._locked():
            spec = self.record.spec if self.record else self.wanted
            self._end()
            owner = locks.holder(spec.address) if spec else None
            if spec and owner is None:
                network.tap_down(spec.address)
            shutil.rmtree(self.files.directory, ignore_errors=True)

    def cut(self) -> None:
        """Take the host off the network; it goes on running."""
        require_root()
        self.require_running()
        network.cut(self.spec.address)

    def restore(self) -> None:
        """Undo :meth:`cut`."""
        require_root()
        self.require_running()
        network.restore(self.spec.address, self.spec.gateway)

    def wait_ssh(self, timeout_s: float = BOOT_LIMIT_S) -> float:
        """Wait until ``admin`` can log in; return the seconds taken."""
        return self.ssh_client.wait(self.dead, timeout_s)

    def ssh(
        self, command: str | Sequence[str], timeout_s: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as ``admin`` and return what it said and its exit code (255: ssh's own).

        A string is a line for the remote shell; a list is quoted word by word.
        """
        return self.ssh_client.run(command, timeout_s)

    def reboot(self, timeout_s: float = BOOT_LIMIT_S) -> float:
        """Reboot the host from within, as an operator does; return the seconds until it is back.

        Raises:
            TestHostError: it did not come back in time.
        """
        self.require_running()
        began = time.monotonic()
        before = self.ssh(_BOOT_ID).stdout
        self.ssh("sudo systemctl reboot")
        while (left := timeout_s - (time.monotonic() - began)) > 0:
            # The old system still answers for a while.
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
        """How to reach the host."""
        return SSH(self.name, self.spec.address, self.state.ssh_key)

    def status(self) -> dict[str, Any]:
        """Return what ``list --json`` shows of the host."""
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

    def dead(self) -> str:
        """Return why the host cannot answer any more, or an empty string while it runs."""
        if self.running():
            return ""
        return f"it is off; its supervisor said:\n{_tail(self.files.log)}\nits console said:\n" + (
            _tail(self.files.console)
        )

    def _locked(self) -> AbstractContextManager[None]:
        require_root()
        return locks.lock(
            self.state.locks / f"host-{self.name}",
            what=f"host {self.name}",
            timeout_s=_LOCK_LIMIT_S,
        )

    def require_running(self) -> None:
        """Raise unless the host exists and runs."""
        self.existing()
        if not self.running():
            raise TestHostError(
                f"host {self.name} is not running.",
                fix=f"run `python -m testhosts start {self.name}`.",
            )

    def _refuse_drift(self, is_now: HostSpec, wanted: HostSpec) -> None:
        if is_now != wanted:
            raise TestHostError(
                f"host {self.name} exists with {is_now.memory_mib} MiB at {is_now.address}, and is "
                f"wanted with {wanted.memory_mib} MiB at {wanted.address}.",
                fix=f"run `python -m testhosts destroy {self.name}` first.",
            )

    def _boot(self, spec: HostSpec, timeout_s: float) -> float:
        began = time.monotonic()
        self._plug_in(spec)
        argv = [sys.executable, "-m", "testhosts.supervisor", str(self.state.directory), self.name]
        identity = process.spawn(argv, self.files.log)
        identity.save(self.files.process)
        self.ssh_client.wait(self.dead, timeout_s)
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
        # The claim is held by the guest's kernel too: free means that all of the host is gone.
        while record and (owner := locks.holder(record.spec.address)):
            if owner.directory != str(self.state.directory):
                return
            if time.monotonic() > deadline:
                raise BusyError(f"host {self.name}", str(owner), fix="end that process.")
            time.sleep(_POLL_S)


def _require_free(spec: HostSpec) -> None:
    """Raise unless the host's address and its memory are free."""
    owner = locks.holder(spec.address)
    if owner is not None:
        raise locks.refusal(spec.address, owner)
    place = os.statvfs(_MEMORY_PLACE)
    free_mib = place.f_bavail * place.f_frsize // 2**20
    if free_mib < spec.memory_mib:
        raise TestHostError(
            f"{spec.name} wants {spec.memory_mib} MiB; {_MEMORY_PLACE} has {free_mib} MiB left.",
            fix="destroy other hosts, or enlarge it: `mount -o remount,size=8G /dev/shm`.",
        )


def _tail(file: Path, lines: int = 15) -> str:
    try:
        return "\n".join(file.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return "(nothing)"
