"""Where a release's start failed: said by its process in one line, read from its journal by apply.

The process is in a sandbox and systemd passes on no more than an exit code: the journal, whose last
lines an operator is shown anyway, is the way out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from mms_server.core.errors import MMSError

_SIGN: Final = "mms-release-server: step "
# Releases of runtimes of version 0.1 say it so. Remove in 0.3.
_SIGN_0_1: Final = "mms_server.wsgi: step "
_LINE: Final = re.compile(
    rf"(?:{re.escape(_SIGN)}|{re.escape(_SIGN_0_1)})"
    r"(?P<step>[a-z -]+): (?P<cause>.*?)(?: Fix: (?P<fix>.*))?"
)


@dataclass(frozen=True)
class StartFailure:
    """What a release said of its own failing start."""

    step: str
    cause: str
    fix: str


def line(error: MMSError) -> str:
    """Return the line that tells of a start that failed."""
    # An archive's text may have line breaks in it; one error is one line.
    text = " ".join(str(error).split())
    return f"{_SIGN}{getattr(error, 'step', 'load')}: {text}"


def last_in(journal: str) -> StartFailure | None:
    """Return the last failure that a journal's lines tell of."""
    matches = [_LINE.fullmatch(each.strip()) for each in journal.splitlines()]
    found = [match for match in matches if match]
    if not found:
        return None
    return StartFailure(found[-1]["step"], found[-1]["cause"], found[-1]["fix"] or "")
