"""Formatting of byte counts, durations and tables for people."""

from __future__ import annotations

import pytest

from mms_server.core.formatting import duration, size, table

MIB = 1024**2


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 MiB"),
        (300 * MIB, "300 MiB"),
        (1024 * MIB - 1, "1024 MiB"),
        (1024 * MIB, "1.0 GiB"),
        (int(2.25 * 1024 * MIB), "2.2 GiB"),
        (-5 * MIB, "-5 MiB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (59.4, "59s"),
        (59.6, "1m 0s"),
        (3599, "59m 59s"),
        (3600, "1h 0m"),
        (86_399, "23h 59m"),
        (90_000, "1d 1h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_table_has_no_blanks_at_the_end() -> None:
    assert table([("A", "B"), ("long", ""), ("x", "y")]) == "A     B\nlong\nx     y"
