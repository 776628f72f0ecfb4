"""All test hosts of a checkout; the interface for the command line and the tests."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from mms_server.core.errors import MMSError
from testhosts import image, inventory, locks, network
from testhosts.command import missing_programs, require_root
from testhosts.host import Host
from testhosts.inventory import Inventory
from testhosts.nfs import NFS
from testhosts.state import State

# Booting uses a lot of CPU time; more hosts in parallel would not be faster.
_MAX_PARALLEL = 4


def _silent(_text: str) -> None:
    pass


@dataclass(frozen=True)
class Lab:
    """The hosts, the network and the NFS export of one checkout."""

    state: State
    inventory: Inventory

    @classmethod
    def open(cls, root: Path, hosts: Path | None = None) -> Lab:
        """Open the lab of the checkout at ``root``; ``hosts`` defaults to its local inventory."""
        return cls(State.of(root), inventory.read(hosts or root / "inventory" / "local"))

    @property
    def nfs(self) -> NFS:
        """The NFS export."""
        return NFS(self.state, self.inventory.gateway, tuple(self.inventory.groups))

    def host(self, name: str) -> Host:
        """Return a host of the inventory, or an existing host that is no longer in it."""
        removed = name not in self.inventory.hosts and "/" not in name
        if removed and self.state.host(name).record.exists():
            return Host(self.state, name, None, self.build_image)
        return Host(self.state, name, self.inventory.host(name), self.build_image)

    def hosts(self) -> list[Host]:
        """Return all hosts of the inventory, then existing hosts that are not in it."""
        existing = [file.parent.name for file in sorted(self.state.hosts.glob("*/host.json"))]
        others = [name for name in existing if name not in self.inventory.hosts]
        return [self.host(name) for name in (*self.inventory.hosts, *others)]

    def build_image(self, progress: Callable[[str], None] = _silent) -> str:
        """Build the image unless it exists; return its digest."""
        return image.ensure(self.state, self._images_in_use, progress)

    def _images_in_use(self) -> set[str]:
        return {host.record.image for host in self.hosts() if host.record}

    def each(
        self, names: Sequence[str], work: Callable[[Host], str], progress: Callable[[str], None]
    ) -> list[MMSError]:
        """Call ``work`` for several hosts in parallel, report the results, return the errors."""

        def one(name: str) -> MMSError | None:
            try:
                text = work(self.host(name))
            except MMSError as error:
                progress(f"{name}: {error}")
                return error
            progress(f"{name}: {text}")
            return None

        hosts = [self.host(name).name for name in names]  # fails on an unknown name before any work
        with ThreadPoolExecutor(_MAX_PARALLEL) as pool:
            return [error for error in pool.map(one, hosts) if error]

    def down(self, progress: Callable[[str], None] = _silent, *, images: bool = False) -> None:
        """Destroy all hosts, the shared file system and the network.

        With ``images``, also the images and their packages. The network is kept if it is used by
        hosts of another checkout. Raises the first error.
        """
        require_root()
        existing = [host.name for host in self.hosts() if host.record]
        errors = self.each(existing, _destroyed, progress)
        if errors:
            raise errors[0]
        self.nfs.stop()
        for place in (self.state.nfs, self.state.efs):
            shutil.rmtree(place, ignore_errors=True)
        progress("shared file system: removed")
        self._network_down(progress)
        if images:
            for place in (self.state.images, self.state.packages):
                shutil.rmtree(place, ignore_errors=True)
            progress("images: removed")

    def _network_down(self, progress: Callable[[str], None]) -> None:
        if missing := missing_programs("ip", "iptables"):
            progress(f"network: there is none ({', '.join(missing)} not installed)")
            return
        with locks.network(self.state):
            others = locks.holders(self.inventory.gateway.rpartition(".")[0] + ".")
            if others:
                owners = ", ".join(str(owner) for owner in others.values())
                progress(f"network: left in place for {owners}")
            else:
                network.down(self.inventory.gateway)
                progress("network: removed")


def _destroyed(host: Host) -> str:
    host.destroy()
    return "destroyed"
