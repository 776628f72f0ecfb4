"""The control group of this process: its limit of memory, and whom the kernel ended for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


@dataclass(frozen=True)
class Cgroup:
    """A directory of the unified hierarchy; what cannot be read is 0."""

    directory: Path

    @classmethod
    def own(cls, listed: Path = _OWN, root: Path = _ROOT) -> Cgroup:
        """Return the one that this process is in."""
        try:
            lines = listed.read_text("utf-8").splitlines()
        except OSError:
            lines = []
        path = next((line[3:] for line in lines if line.startswith("0::")), "/")
        return cls(root / path.lstrip("/"))

    def oom_kills(self) -> int:
        """Return how many processes the kernel has ended because memory was out."""
        for line in self._read("memory.events").splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return _number(value)
        return 0

    def peak_bytes(self) -> int:
        """Return the most memory that all its processes together have used."""
        return _number(self._read("memory.peak"))

    def limit_bytes(self) -> int:
        """Return the memory at which it is slowed down or ended, 0 if there is no limit."""
        found = [_number(self._read(name)) for name in ("memory.high", "memory.max")]
        return min((limit for limit in found if limit), default=0)

    def _read(self, name: str) -> str:
        try:
            return (self.directory / name).read_text("ascii")
        except (OSError, ValueError):
            return ""


def _number(text: str) -> int:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() else 0
