"""Formatting of byte counts, durations and tables for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

_MIB: Final = 1024**2
_GIB: Final = 1024**3
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_DAY_S: Final = 86_400


def size(count: int) -> str:
    """Return a number of bytes as text, in MiB below 1 GiB, else in GiB."""
    if abs(count) < _GIB:
        return f"{count / _MIB:.0f} MiB"
    return f"{count / _GIB:.1f} GiB"


def duration(seconds: float) -> str:
    """Return a duration as text, in its two largest units, as in ``1h 5m``."""
    whole = round(seconds)
    for unit, part, names in ((_DAY_S, _HOUR_S, "dh"), (_HOUR_S, _MINUTE_S, "hm")):
        if whole >= unit:
            return f"{whole // unit}{names[0]} {whole % unit // part}{names[1]}"
    if whole >= _MINUTE_S:
        return f"{whole // _MINUTE_S}m {whole % _MINUTE_S}s"
    return f"{whole}s"


@dataclass(frozen=True)
class Column:
    """A column of a table: its heading, and the function that makes its cell from a JSON object."""

    heading: str
    cell: Callable[[Mapping[str, Any]], str]


def column_table(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> str:
    """Return JSON objects as a table, one line each below a line of headings."""
    head = tuple(each.heading for each in columns)
    return table([head, *(tuple(each.cell(row) for each in columns) for row in rows)])


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Return the rows as lines of text, with aligned columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
