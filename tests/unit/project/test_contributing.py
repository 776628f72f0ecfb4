"""The tables in CONTRIBUTING.md name files, directories and symbols that exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

ROOT: Final = Path(__file__).resolve().parents[3]
_PLACE: Final = re.compile(r"`([^`]+)`(?: \(([^)]*)\))?")
_CODE: Final = re.compile(r"`([^`]+)`")


class Change(NamedTuple):
    """One row: what changes, the cell of its files, and the cell of its tests."""

    what: str
    files: str
    tests: str


def changes() -> Iterator[Change]:
    for line in (ROOT / "CONTRIBUTING.md").read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| ") and len(cells) == 3 and cells[0] != "change":
            yield Change(*cells)


CHANGES: Final = list(changes())


def stands_in(symbol: str, place: Path) -> bool:
    if place.is_file():
        return re.search(rf"(?<!\w){re.escape(symbol)}(?!\w)", place.read_text("utf-8")) is not None
    names = list(place.rglob(symbol))
    return bool(names) or any(stands_in(symbol, file) for file in place.rglob("*.py"))


def test_the_table_is_read() -> None:
    assert len(CHANGES) > 30


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.what)
def test_places_and_symbols_exist(change: Change) -> None:
    for cell in (change.files, change.tests):
        for part in cell.split("<br>"):
            found = _PLACE.match(part)
            assert found, part
            place = ROOT / found[1]
            assert place.exists(), part
            for symbol in _CODE.findall(found[2] or ""):
                # The role is not named: each has these files.
                roots = [ROOT / "roles/efs_mount"] if found[1] == "roles/" else [place]
                assert all(stands_in_role(symbol, root) for root in roots), f"{part}: {symbol}"


def stands_in_role(symbol: str, place: Path) -> bool:
    return (place / symbol).exists() if "/" in symbol else stands_in(symbol, place)
