"""How a release is confined: its limits, and the protections that its operator has lifted.

What protects every release is in
``host/sandbox_protections.conf`` and the unit template. What one model has
otherwise is said in ``[Model Settings]`` and is part of its release.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

LIFTS: Final[Mapping[str, tuple[str, ...]]] = {
    "network": (
        "PrivateNetwork=no",
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK",
        "IPAddressDeny=",
        # The cloud's metadata service gives out the credentials of the whole host.
        "IPAddressDeny=169.254.169.254 169.254.170.2 fd00:ec2::254",
        "BindReadOnlyPaths=-/etc/resolv.conf -/etc/hosts -/etc/host.conf -/etc/gai.conf",
        "BindReadOnlyPaths=-/etc/ssl -/etc/ca-certificates -/run/systemd/resolve",
    ),
    "files": (
        "RootDirectory=",
        # To ProtectSystem=strict, /run is one of the API file systems, which it leaves writable.
        "ReadOnlyPaths=/run",
        "ProtectHome=read-only",
        "InaccessiblePaths=-/run/dbus -/run/systemd/private",
    ),
    "devices": ("PrivateDevices=no", "DevicePolicy=auto", "DeviceAllow=", "ProcSubset=all"),
    "processes": ("ProtectProc=default", "ProcSubset=all"),
    "system_calls": ("SystemCallFilter=", "SystemCallFilter=@known", "RestrictRealtime=no"),
}
"""A protection that can be lifted -> what its release's unit has instead of the template's."""

LEAST_TASKS: Final = 16
"""A master, a worker and their threads need so many."""

MOST_TASKS: Final = 65_536
MOST_WEIGHT: Final = 10_000
MOST_REASON: Final = 200
"""Characters."""

_MEMORY: Final = re.compile(r"[1-9][0-9]{0,17}[KMGT]?|(?:[1-9][0-9]?|100)%")
_LEAST_MEMORY: Final = 32 * 1024 * 1024
_UNITS: Final = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclass(frozen=True)
class Confinement:
    """What one release has otherwise than all; an empty limit stands for the role's.

    ``memory_high`` and ``memory_max`` are in systemd's words, ``lifted`` names protections, and
    ``reason`` says why they are lifted.
    """

    memory_high: str = ""
    memory_max: str = ""
    tasks_max: int = 0
    cpu_weight: int = 0
    lifted: tuple[str, ...] = ()
    reason: str = ""

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Confinement:
        """Return the confinement that ``asdict`` took apart."""
        return cls(**{**fields, "lifted": tuple(fields.get("lifted", ()))})

    def limits(self) -> dict[str, str]:
        """Return the unit's settings that differ from the template's."""
        found = {
            "MemoryHigh": self.memory_high,
            "MemoryMax": self.memory_max,
            "TasksMax": str(self.tasks_max or ""),
            "CPUWeight": str(self.cpu_weight or ""),
        }
        return {name: value for name, value in found.items() if value}

    def as_text(self) -> str:
        """Return it for a plan: empty if there is nothing to say."""
        words = [f"{name}={value}" for name, value in self.limits().items()]
        return ", ".join([*words, self.lifted_text()] if self.lifted else words)

    def lifted_text(self) -> str:
        """Return what the release runs without, and why: empty if it has all protections."""
        if not self.lifted:
            return ""
        return f"without protection of {', '.join(self.lifted)} ({self.reason})"


@dataclass(frozen=True)
class Lifted:
    """The value of ``unconfined``: protections in the order of :data:`LIFTS`, and the reason."""

    lifted: tuple[str, ...] = ()
    reason: str = ""


def read_lifted(text: str) -> Lifted:
    """Return what ``<words>: <reason>`` says.

    Raises:
        ValueError: a word is no protection, or the reason is missing, too long or not printable.
    """
    left, _colon, reason = text.partition(":")
    words = {word.strip() for word in left.split(",")}
    reason = reason.strip()
    # It becomes a line of a unit file, in which a backslash at the end joins the next one.
    sound = reason.isprintable() and "\\" not in reason and 0 < len(reason) <= MOST_REASON
    if not words <= LIFTS.keys() or not sound:
        raise ValueError(text)
    return Lifted(tuple(word for word in LIFTS if word in words), reason)


def read_memory(text: str) -> str:
    """Return an amount of memory in systemd's words.

    Raises:
        ValueError: it is none, or less than 32 MiB.
    """
    if not _MEMORY.fullmatch(text):
        raise ValueError(text)
    number = text.rstrip("KMGT%")
    factor = _UNITS.get(text[-1], 1)
    if not text.endswith("%") and int(number) * factor < _LEAST_MEMORY:
        raise ValueError(text)
    return text
