"""Tests of every row of the table; the table, the recordings and the document are complete."""

from __future__ import annotations

import pytest

from tests.compat.document import DOCUMENT, render
from tests.compat.request_table import REQUESTS
from tests.compat.rows import Ground, Recording, Row
from tests.compat.table import TABLE


def _id(row: Row) -> str:
    words = "-".join("".join(c if c.isalnum() else " " for c in row.statement).split())
    return f"{row.section}-{row.verdict}-{words[:60]}"


@pytest.mark.parametrize("row", TABLE, ids=_id)
def test_the_row_holds(row: Row, ground: Ground) -> None:
    row.check(ground)


def test_fixed_rows_have_our_behaviour() -> None:
    assert [row for row in TABLE if (row.verdict == "fixed") != bool(row.ours)] == []


def test_every_statement_is_unique() -> None:
    statements = [row.statement for row in TABLE]
    assert len(set(statements)) == len(statements)


def test_every_request_was_recorded_by_both_front_ends(recordings: dict[str, Recording]) -> None:
    for front_end in ("standalone", "gunicorn"):
        assert list(recordings[front_end]) == list(REQUESTS)


def test_the_document_is_generated_from_the_table() -> None:
    assert DOCUMENT.read_text() == render(), "run python -m tests.compat.document"
