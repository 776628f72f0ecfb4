"""A control group: its memory limit, its memory peak, and the count of OOM kills in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_SELF = Path("/proc/self/cgroup")


@dataclass(frozen=True)
class Cgroup:
    """A directory of the unified hierarchy (v2); a value that cannot be read is 0."""

    directory: Path

    @classmethod
    def current(cls, membership: Path = _SELF, root: Path = _ROOT) -> Cgroup:
        """Return the control group of this process."""
        try:
            lines = membership.read_text("utf-8").splitlines()
        except OSError:
            lines = []
        path = next((line[3:] for line in lines if line.startswith("0::")), "/")
        return cls(root / path.lstrip("/"))

    def oom_kills(self) -> int:
        """Return how many processes of the group the kernel has killed for lack of memory."""
        for line in self._read("memory.events").splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return _number(value)
        return 0

    def peak_bytes(self) -> int:
        """Return the most memory, in bytes, that all processes of the group together have used."""
        return _number(self._read("memory.peak"))

    def limit_bytes(self) -> int:
        """Return the bytes at which the kernel throttles or kills the group; 0 for no limit."""
        limits = [_number(self._read(name)) for name in ("memory.high", "memory.max")]
        return min((limit for limit in limits if limit), default=0)

    def _read(self, name: str) -> str:
        try:
            return (self.directory / name).read_text("ascii")
        except (OSError, ValueError):
            return ""


def _number(text: str) -> int:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() else 0
