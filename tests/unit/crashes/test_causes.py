"""The table of causes of death, and what is made from it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mms_server.crashes import explain
from mms_server.crashes.causes import Cause
from tests.fixtures.crash_reports import certificate
from tools import operations_tables

SOURCES = Path(__file__).parents[3] / "mms_server/crashes"


def test_the_document_has_the_rows_of_the_table() -> None:
    for file, text in operations_tables.texts().items():
        assert file.read_text(encoding="utf-8") == text
    for cause in Cause:
        assert f"| `{cause}` | {cause.action} |" in operations_tables.causes()


@pytest.mark.parametrize("cause", Cause)
def test_each_cause_has_words_and_code_that_recognises_it(cause: Cause) -> None:
    assert Cause.of(str(cause)) is cause
    assert f"{cause}: {cause.words} (" in explain.text("x", [certificate(cause=str(cause))])
    code = "".join((SOURCES / name).read_text("utf-8") for name in ("reporter.py", "collector.py"))
    assert re.search(rf"\bCause\.{cause.name}\b", code), f"nothing recognises {cause!r}"


def test_a_value_without_a_row_is_no_cause() -> None:
    with pytest.raises(ValueError, match="odd"):
        Cause.of("odd")
