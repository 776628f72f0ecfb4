"""The failed step of a start: the line that the release logs is parsed again."""

from __future__ import annotations

import pytest

from mms_server.core.errors import GoldenError, MMSError, ServiceError, WarmUpError
from mms_server.host import start_failure
from mms_server.host.start_failure import StartFailure


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (MMSError("no file.", fix="add it."), StartFailure("load", "no file.", "add it.")),
        (ServiceError("no class"), StartFailure("load", "no class", "")),
        (WarmUpError("a\n b", fix="c"), StartFailure("warm-up", "a b", "c")),
        (
            GoldenError(2, "it is 1; expected is 2.", fix="look."),
            StartFailure("golden check", "golden sample 2: it is 1; expected is 2.", "look."),
        ),
    ],
)
def test_a_logged_line_is_parsed(error: MMSError, failure: StartFailure) -> None:
    line = start_failure.format_line(error)
    assert "\n" not in line
    journal = f"Starting\n{start_failure.format_line(MMSError('older'))}\n  {line}\nFailed\n"
    assert start_failure.find_last(journal) == failure


def test_a_journal_without_a_failure() -> None:
    assert start_failure.find_last("") is None
    assert start_failure.find_last("Starting\nmms_server.worker: no socket") is None
