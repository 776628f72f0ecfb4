"""The paths of the shared directory. No other module spells them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Share:
    """The directory of the shared file system with ``mms.conf`` and the archives."""

    root: Path

    @property
    def conf(self) -> Path:
        """The configuration of the fleet, under the name that 0.4 reads."""
        return self.root / "mms.conf"

    @property
    def published(self) -> Path:
        """A directory per publication, named by its number."""
        return self.root / ".published"

    @property
    def contents(self) -> Path:
        """The contents of kept publications, named by their SHA-256."""
        return self.published / "contents"

    @property
    def current(self) -> Path:
        """The link to the publication whose files are at their places."""
        return self.published / "current"

    @property
    def approved(self) -> Path:
        """The link to the last publication that the whole fleet has served."""
        return self.published / "approved"

    @property
    def lease(self) -> Path:
        """The lease of the run that changes the fleet."""
        return self.root / ".fleet" / "lease.json"

    @property
    def guard(self) -> Path:
        """The file that a process locks to read and then write the lease."""
        return self.root / ".fleet" / "guard"

    @property
    def hold(self) -> Path:
        """While this file exists, no host changes by itself; its text is the reason."""
        return self.root / ".fleet" / "hold"

    @property
    def journal(self) -> Path:
        """The journal: who changed what, when, from where, with which result."""
        return self.root / ".journal"

    def publication(self, number: int) -> Path:
        """Return the directory of a publication."""
        return self.published / str(number)
