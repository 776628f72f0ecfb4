"""Where the test hosts' files are. Nothing else in the package spells these paths."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# Claims on addresses are per machine, not per checkout: that is what makes them useful.
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
        """One directory per image, named by the digest of what shaped it."""
        return self.directory / "images"

    @property
    def packages(self) -> Path:
        """Downloaded ``.deb`` files, kept for the next build."""
        return self.directory / "packages"

    @property
    def hosts(self) -> Path:
        """One directory per host."""
        return self.directory / "hosts"

    @property
    def efs(self) -> Path:
        """The exported directory that stands for EFS."""
        return self.directory / "efs"

    @property
    def nfs(self) -> Path:
        """The NFS server's configuration, log and recovery data."""
        return self.directory / "nfs"

    @property
    def locks(self) -> Path:
        """Lock files of commands that are running now."""
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
        """What the host was created with."""
        return self.directory / "host.json"

    @property
    def process(self) -> Path:
        """Identity of the host's supervisor."""
        return self.directory / "supervisor.json"

    @property
    def disk(self) -> Path:
        """What the host wrote, over the image (copy-on-write)."""
        return self.directory / "disk.cow"

    @property
    def console(self) -> Path:
        """What the host's kernel printed."""
        return self.directory / "console.log"

    @property
    def log(self) -> Path:
        """What the host's supervisor did."""
        return self.directory / "supervisor.log"


@dataclass(frozen=True)
class ImageFiles:
    """Files of one image: a kernel with the libraries it needs, and a file system."""

    directory: Path

    @property
    def kernel_root(self) -> Path:
        """Directory that the kernel, an ordinary program, runs in by ``chroot``."""
        return self.directory / "kernel"

    @property
    def disk(self) -> Path:
        """The root file system that all hosts share, read-only."""
        return self.directory / "root.img"
