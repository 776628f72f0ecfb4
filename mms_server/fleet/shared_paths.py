"""Where things are in the shared directory. Nothing else in the project spells these paths."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Share:
    """The directory of the shared file system that ``mms.conf`` and archives come from."""

    root: Path

    @property
    def conf(self) -> Path:
        """What the fleet is to serve, under the name that 0.4 reads."""
        return self.root / "mms.conf"

    @property
    def published(self) -> Path:
        """One directory per publication, by its number."""
        return self.root / ".published"

    @property
    def contents(self) -> Path:
        """What was ever published and is kept, by its SHA-256."""
        return self.published / "contents"

    @property
    def current(self) -> Path:
        """The link to the publication that lies under the names that 0.4 reads."""
        return self.published / "current"

    @property
    def approved(self) -> Path:
        """The link to the last publication that the whole fleet was brought to."""
        return self.published / "approved"

    @property
    def lease(self) -> Path:
        """Who changes the fleet now."""
        return self.root / ".fleet" / "lease.json"

    @property
    def guard(self) -> Path:
        """The file whose lock whoever reads and then writes the lease holds."""
        return self.root / ".fleet" / "guard"

    @property
    def hold(self) -> Path:
        """The file while which is there no host changes by itself; it says why."""
        return self.root / ".fleet" / "hold"

    @property
    def journal(self) -> Path:
        """Who changed what, when, from where, with which result."""
        return self.root / ".journal"

    def publication(self, number: int) -> Path:
        """Return the directory of a publication."""
        return self.published / str(number)
