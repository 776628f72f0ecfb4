"""Write the tables in docs/operations.md that follow from code: ``operations_tables.py [--check]``.

From mms_server/crashes/causes.py follows the table of causes of death, from
mms_server/config/sandbox.py the table of protections that operators may lift.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from mms_server.config.sandbox import LIFTS
from mms_server.crashes.causes import Cause
from tools.generated_files import ROOT, run, with_blocks

DOCUMENT = ROOT / "docs/operations.md"
END = "<!-- end -->"


def texts() -> dict[Path, str]:
    """Return the file and its text."""
    blocks = {
        "mms_server/config/sandbox.py": protections(),
        "mms_server/crashes/causes.py": causes(),
    }
    lines = {_begin(source): body for source, body in blocks.items()}
    return {DOCUMENT: with_blocks(DOCUMENT, lines, END)}


def protections() -> str:
    """Return the table of protections that operators may lift."""
    rows = [(f"`{word}`", row.access) for word, row in LIFTS.items()]
    return _table(("word", "access of the model"), rows)


def causes() -> str:
    """Return the table of causes of death."""
    rows = [(f"`{row}`", row.action, "yes" if row.suspects_input else "no") for row in Cause]
    return _table(("cause", "action", "input is suspected"), rows)


def _begin(source: str) -> str:
    return f"<!-- begin: made from {source} by tools/operations_tables.py -->"


def _table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Write the file, or with ``--check`` say that it is not up to date."""
    return run(__doc__, texts, arguments)


if __name__ == "__main__":
    sys.exit(main())
