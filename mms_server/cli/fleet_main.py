"""``mms-fleet``: see and change what the hosts of a fleet share, from one of them.

Each command is a module of ``fleet_commands``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mms_server.cli.command_line import Program
from mms_server.cli.fleet_commands import (
    begin,
    end,
    heal,
    hold,
    journal,
    note,
    publish,
    renew,
    restore,
    resume,
    state,
)
from mms_server.host.supervisor import Supervisor

PROGRAM: Final = Program(
    "mms-fleet",
    "See and change what the hosts of a fleet share. The playbooks call it.",
    (
        state.COMMAND,
        begin.COMMAND,
        renew.COMMAND,
        publish.COMMAND,
        restore.COMMAND,
        end.COMMAND,
        note.COMMAND,
        journal.COMMAND,
        hold.COMMAND,
        resume.COMMAND,
        heal.COMMAND,
    ),
    interrupted="interrupted.",
)


def main(argv: Sequence[str] | None = None, supervisor: Supervisor | None = None) -> int:
    """Run one command; return its exit code."""
    return PROGRAM.main(argv, supervisor)
