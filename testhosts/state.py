"""Paths of the files of the test hosts. Other modules of the package use only these."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# Claims on addresses are per machine, so that two checkouts cannot use the same address.
CLAIMS = Path("/run/testhosts")


@dataclass(frozen=True)
class State:
    """Files of one checkout, under ``<checkout>/build/testhosts``."""

    directory: Path

    @classmethod
    def of(cls, root: Path) -> State:
        """Return the state of the checkout at ``root``."""
        return cls(root.resolve() / "build" / "testhosts")

    @property
    def ssh_key(self) -> Path:
        """Private key that every test host accepts."""
        return self.directory / "id_ed25519"

    @property
    def images(self) -> Path:
        """One directory for each image, named by the digest of its inputs."""
        return self.directory / "images"

    @property
    def packages(self) -> Path:
        """Downloaded ``.deb`` files, kept for the next build."""
        return self.directory / "packages"

    @property
    def hosts(self) -> Path:
        """One directory for each host."""
        return self.directory / "hosts"

    @property
    def efs(self) -> Path:
        """The exported directory that replaces EFS."""
        return self.directory / "efs"

    @property
    def nfs(self) -> Path:
        """The NFS server's configuration, log and recovery data."""
        return self.directory / "nfs"

    @property
    def locks(self) -> Path:
        """Lock files of running commands."""
        return self.directory / "locks"

    def host(self, name: str) -> HostFiles:
        """Return the files of one host."""
        return HostFiles(self.hosts / name)

    def image(self, digest: str) -> ImageFiles:
        """Return the files of one image."""
        return ImageFiles(self.images / digest)


@dataclass(frozen=True)
class HostFiles:
    """Files of one host."""

    directory: Path

    @property
    def record(self) -> Path:
        """Record of the creation of the host."""
        return self.directory / "host.json"

    @property
    def process(self) -> Path:
        """Identity of the host's supervisor."""
        return self.directory / "supervisor.json"

    @property
    def disk(self) -> Path:
        """Copy-on-write disk of the host, on top of the image."""
        return self.directory / "disk.cow"

    @property
    def console(self) -> Path:
        """Console output of the kernel of the host."""
        return self.directory / "console.log"

    @property
    def log(self) -> Path:
        """Log of the supervisor of the host."""
        return self.directory / "supervisor.log"


@dataclass(frozen=True)
class ImageFiles:
    """Files of one image: a kernel with its libraries, and a root file system."""

    directory: Path

    @property
    def kernel_root(self) -> Path:
        """Root directory in which the kernel, an ordinary program, runs with ``chroot``."""
        return self.directory / "kernel"

    @property
    def disk(self) -> Path:
        """The root file system, shared read-only by all hosts."""
        return self.directory / "root.img"
