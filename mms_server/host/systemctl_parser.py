"""Parsing of the output of ``systemctl``, and of the numbers of control groups."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from mms_server.core.errors import SupervisorError

_NOT_SET: Final = 2**64 - 1


def parse_show(text: str) -> list[dict[str, str]]:
    """Return the properties of each unit, from the output of ``systemctl show``."""
    return [_properties(block) for block in text.strip("\n").split("\n\n")]


def _properties(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.splitlines())
    return {name: value for name, equals, value in pairs if equals}


def parse_number(text: str) -> int | None:
    """Return the number in a property; None if it is not set: a word, or 2**64 - 1."""
    return int(text) if text.isdecimal() and int(text) < _NOT_SET else None


def read_peak(group: Path) -> int | None:
    """Return the memory peak of a control group, in bytes; None if it cannot be read.

    systemd itself has this property from version 255 on.
    """
    try:
        return parse_number((group / "memory.peak").read_text("ascii").strip())
    except OSError:
        return None


def parse_units(text: str) -> list[dict[str, object]]:
    """Return the units in the output of ``systemctl list-units --output=json``.

    Raises:
        SupervisorError: the output is not JSON.
    """
    try:
        units: list[dict[str, object]] = json.loads(text)
    except ValueError as error:
        raise SupervisorError("mms@*", f"list-units gave no JSON: {error}.") from error
    return units
