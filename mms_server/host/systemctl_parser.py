"""What ``systemctl`` and the kernel's control groups answer, read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from mms_server.core.errors import SupervisorError

_NOT_SET: Final = 2**64 - 1


def blocks(text: str) -> list[dict[str, str]]:
    """Return what ``systemctl show`` printed: the properties of each unit, in their order."""
    return [_properties(block) for block in text.strip("\n").split("\n\n")]


def _properties(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.splitlines())
    return {name: value for name, equals, value in pairs if equals}


def number(text: str) -> int | None:
    """Return a number of systemd's; what is not set is a word, or the largest number there is."""
    return int(text) if text.isdecimal() and int(text) < _NOT_SET else None


def peak(group: Path) -> int | None:
    """Return the most that a control group has used; systemd shows it from version 255 on only."""
    try:
        return number((group / "memory.peak").read_text("ascii").strip())
    except OSError:
        return None


def rows(text: str) -> list[dict[str, object]]:
    """Return the units that ``systemctl list-units --output=json`` printed.

    Raises:
        SupervisorError: it printed something else.
    """
    try:
        found: list[dict[str, object]] = json.loads(text)
    except ValueError as error:
        raise SupervisorError("mms@*", f"list-units gave no JSON: {error}.") from error
    return found
