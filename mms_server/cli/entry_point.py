"""Start ``mms``; a command that changes the host first lowers its CPU priority."""

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
    # Imported afterwards: importing all commands takes a second of CPU time on a small host.
    from mms_server.cli.main import main as run  # noqa: PLC0415

    return run(words)
