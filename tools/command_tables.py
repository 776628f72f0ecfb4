"""Write the tables of commands in docs/commands.md: ``command_tables.py [--check]``.

A row is a command of ``mms`` or ``mms-fleet``: its name, its help and its example.
"""

from __future__ import annotations

import sys
from pathlib import Path

from mms_server.cli import fleet_main
from mms_server.cli import main as mms_main
from mms_server.cli.command_line import Program
from tools.generated_files import ROOT, run, with_blocks

DOCUMENT = ROOT / "docs/commands.md"
END = "<!-- end -->"
PROGRAMS = {"commands": mms_main.PROGRAM, "fleet_commands": fleet_main.PROGRAM}


def texts() -> dict[Path, str]:
    """Return the document and its text."""
    blocks = {_begin(folder): table(program) for folder, program in PROGRAMS.items()}
    return {DOCUMENT: with_blocks(DOCUMENT, blocks, END)}


def _begin(folder: str) -> str:
    return f"<!-- begin: made from mms_server/cli/{folder}/ by tools/command_tables.py -->"


def table(program: Program) -> str:
    """Return the table of a program's commands."""
    lines = ["| command | purpose | example |", "|---|---|---|"]
    for command in program.commands:
        purpose = " ".join((command.run.__doc__ or "").split())
        lines.append(f"| `{command.name}` | {purpose} | `{command.example}` |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Write the document, or with ``--check`` say whether it is not up to date."""
    return run(__doc__, texts, arguments)


if __name__ == "__main__":
    sys.exit(main())
