"""The command ``mms``: one that changes the host yields first, before it has cost anything."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from mms_server.host import background_scope

_CHANGES: Final = frozenset({"apply", "prefetch", "rollback", "gc"})


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    words = sys.argv[1:] if argv is None else argv
    if _CHANGES.intersection(words):
        problem = background_scope.enter_background_scope()
        if problem:
            sys.stderr.write(f"mms: {problem}\n")
    # To read the modules of all commands takes a second of a small host's processor.
    from mms_server.cli.main import main as run  # noqa: PLC0415

    return run(words)
