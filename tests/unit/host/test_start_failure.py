"""Where a start failed, from the release's process to the operator."""

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
def test_what_is_said_is_read(error: MMSError, failure: StartFailure) -> None:
    line = start_failure.line(error)
    assert "\n" not in line
    journal = f"Starting\n{start_failure.line(MMSError('older'))}\n  {line}\nFailed\n"
    assert start_failure.last_in(journal) == failure


def test_a_journal_that_says_nothing() -> None:
    assert start_failure.last_in("") is None
    assert start_failure.last_in("Starting\nmms_server.worker: no socket") is None
