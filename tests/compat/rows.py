"""A row of the table: one statement of the contract, its verdict, and the check that proves it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from tests.fixtures.servers import Server

Recording = Mapping[str, Mapping[str, Any]]


class Verdict(StrEnum):
    """Whether we keep a behaviour of the original, fix it, or add one."""

    KEPT = "kept"
    FIXED = "fixed"
    BEYOND = "beyond"


@dataclass(frozen=True)
class Ground:
    """Fixtures of a check: our server with all archives, the recordings, an empty directory."""

    server: Server
    recordings: Mapping[str, Recording]
    archives: Mapping[str, Path]
    directory: Path


@dataclass(frozen=True)
class Row:
    """A statement about the original (for BEYOND: about us), and the check that proves it.

    ``ours`` is our behaviour where it differs (for FIXED).
    """

    section: str
    statement: str
    verdict: Verdict
    check: Callable[[Ground], None]
    ours: str = ""


def kept(section: str, statement: str, check: Callable[[Ground], None]) -> Row:
    return Row(section, statement, Verdict.KEPT, check)


def fixed(section: str, statement: str, ours: str, check: Callable[[Ground], None]) -> Row:
    return Row(section, statement, Verdict.FIXED, check, ours)


def beyond(section: str, statement: str, check: Callable[[Ground], None]) -> Row:
    return Row(section, statement, Verdict.BEYOND, check)
