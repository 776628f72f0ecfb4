"""The failed step of a release's start: its process logs one line, and apply reads its journal.

The process is in a sandbox, and systemd passes on only an exit code. So the journal carries the
step, the cause and the fix. Operators are shown its last lines anyway.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from mms_server.core.errors import MMSError

_PREFIX: Final = "mms-release-server: step "
# The prefix of runtimes of version 0.1. Remove in 0.3.
_PREFIX_0_1: Final = "mms_server.wsgi: step "
_LINE: Final = re.compile(
    rf"(?:{re.escape(_PREFIX)}|{re.escape(_PREFIX_0_1)})"
    r"(?P<step>[a-z -]+): (?P<cause>.*?)(?: Fix: (?P<fix>.*))?"
)


@dataclass(frozen=True)
class StartFailure:
    """The step of a start that failed, its cause and its fix, as the release logged them."""

    step: str
    cause: str
    fix: str


def format_line(error: MMSError) -> str:
    """Return the line that a release logs when its start fails."""
    # An archive's text may contain line breaks; one error is one line.
    text = " ".join(str(error).split())
    return f"{_PREFIX}{getattr(error, 'step', 'load')}: {text}"


def find_last(journal: str) -> StartFailure | None:
    """Return the last failure in the lines of a journal; None if there is none."""
    for line in reversed(journal.splitlines()):
        if match := _LINE.fullmatch(line.strip()):
            return StartFailure(match["step"], match["cause"], match["fix"] or "")
    return None
