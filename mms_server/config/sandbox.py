"""Confinement of a release: its limits, and the protections that the operator has lifted.

The protections of all releases are in ``host/sandbox_protections.conf`` and the unit template.
``[Model Settings]`` sets the limits of one model and lifts protections; both are part of its
release.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True)
class Protection:
    """A protection that operators may lift.

    ``access`` is what a model can reach without it, for ``docs/operations.md``. ``directives`` are
    the unit's settings that replace those of the template.
    """

    access: str
    directives: tuple[str, ...]


LIFTS: Final[Mapping[str, Protection]] = {
    "network": Protection(
        "the host's network except for the metadata service's addresses; name resolution, "
        "certificates",
        (
            "PrivateNetwork=no",
            "RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK",
            "IPAddressDeny=",
            # The metadata service of a cloud gives out the credentials of the host.
            "IPAddressDeny=169.254.169.254 169.254.170.2 fd00:ec2::254",
            "BindReadOnlyPaths=-/etc/resolv.conf -/etc/hosts -/etc/host.conf -/etc/gai.conf",
            "BindReadOnlyPaths=-/etc/ssl -/etc/ca-certificates -/run/systemd/resolve",
        ),
    ),
    "files": Protection(
        "the host's files, read-only, if everybody on the host or the group `mms` may read them",
        (
            "RootDirectory=",
            # ProtectSystem=strict leaves API file systems writable, and /run is one of them.
            "ReadOnlyPaths=/run",
            "ProtectHome=read-only",
            "InaccessiblePaths=-/run/dbus -/run/systemd/private",
        ),
    ),
    "devices": Protection(
        "the host's devices, if everybody may use them, and all entries of `/proc` that are not "
        "processes",
        ("PrivateDevices=no", "DevicePolicy=auto", "DeviceAllow=", "ProcSubset=all"),
    ),
    "processes": Protection(
        "other processes in `/proc`, if everybody may see them",
        ("ProtectProc=default", "ProcSubset=all"),
    ),
    "system_calls": Protection(
        "no system call filter; calls that need a capability still fail",
        ("SystemCallFilter=", "SystemCallFilter=@known", "RestrictRealtime=no"),
    ),
}
"""The word of ``unconfined`` -> the protection. ``tools/operations_tables.py`` documents it."""

LEAST_TASKS: Final = 16
"""A master, one worker and their threads need so many."""

MOST_TASKS: Final = 65_536
MOST_WEIGHT: Final = 10_000
MOST_REASON: Final = 200
"""Characters."""

_MEMORY: Final = re.compile(r"[1-9][0-9]{0,17}[KMGT]?|(?:[1-9][0-9]?|100)%")
_LEAST_MEMORY: Final = 32 * 1024 * 1024
_UNITS: Final = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclass(frozen=True)
class Confinement:
    """The confinement of one release; an empty or zero limit stands for the role's limit.

    ``memory_high`` and ``memory_max`` are in the format of systemd. ``lifted`` names the lifted
    protections, and ``reason`` says why they are lifted.
    """

    memory_high: str = ""
    memory_max: str = ""
    tasks_max: int = 0
    cpu_weight: int = 0
    lifted: tuple[str, ...] = ()
    reason: str = ""

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Confinement:
        """Return the confinement of a mapping that ``asdict`` made."""
        return cls(**{**fields, "lifted": tuple(fields.get("lifted", ()))})

    def limits(self) -> dict[str, str]:
        """Return the unit's settings that replace those of the template."""
        found = {
            "MemoryHigh": self.memory_high,
            "MemoryMax": self.memory_max,
            "TasksMax": str(self.tasks_max or ""),
            "CPUWeight": str(self.cpu_weight or ""),
        }
        return {name: value for name, value in found.items() if value}

    def as_text(self) -> str:
        """Return the confinement as a line of a plan, empty if it is that of all releases."""
        words = [f"{name}={value}" for name, value in self.limits().items()]
        return ", ".join([*words, self.lifted_text()] if self.lifted else words)

    def lifted_text(self) -> str:
        """Return the lifted protections and the reason as text, empty if none is lifted."""
        if not self.lifted:
            return ""
        return f"without protection of {', '.join(self.lifted)} ({self.reason})"


@dataclass(frozen=True)
class Lifted:
    """The value of ``unconfined``: protections in the order of :data:`LIFTS`, and the reason."""

    lifted: tuple[str, ...] = ()
    reason: str = ""


def read_lifted(text: str) -> Lifted:
    """Return the value of a text ``<words>: <reason>``.

    Raises:
        ValueError: a word names no protection, or the reason is missing, too long or not printable.
    """
    left, _colon, reason = text.partition(":")
    words = {word.strip() for word in left.split(",")}
    reason = reason.strip()
    # The reason becomes a line of a unit file, where a backslash at the end joins the next line.
    sound = reason.isprintable() and "\\" not in reason and 0 < len(reason) <= MOST_REASON
    if not words <= LIFTS.keys() or not sound:
        raise ValueError(text)
    return Lifted(tuple(word for word in LIFTS if word in words), reason)


def read_memory(text: str) -> str:
    """Return an amount of memory in the format of systemd.

    Raises:
        ValueError: the text is no amount of memory, or less than 32 MiB.
    """
    if not _MEMORY.fullmatch(text):
        raise ValueError(text)
    number = text.rstrip("KMGT%")
    factor = _UNITS.get(text[-1], 1)
    if not text.endswith("%") and int(number) * factor < _LEAST_MEMORY:
        raise ValueError(text)
    return text
