"""The rows of the table: a statement of the contract, its verdict, and a check that tests it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from tests.fixtures.servers import Server

Recording = Mapping[str, Mapping[str, Any]]


class Verdict(StrEnum):
    """Whether mms-hosts keeps a behaviour of the original, fixes it, or adds one."""

    KEPT = "kept"
    FIXED = "fixed"
    BEYOND = "beyond"


@dataclass(frozen=True)
class Ground:
    """The fixtures of a check: our server with all archives, the recordings, an empty directory."""

    server: Server
    recordings: Mapping[str, Recording]
    archives: Mapping[str, Path]
    directory: Path


@dataclass(frozen=True)
class Row:
    """A statement about the original (for BEYOND: about mms-hosts), and a check that tests it.

    ``ours`` is the behaviour of mms-hosts if it differs (for FIXED).
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
