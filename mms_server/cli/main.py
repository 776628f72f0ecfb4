"""``mms``: decide and see what this host serves. Each command is a module of ``commands``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mms_server.cli.command_line import Program
from mms_server.cli.commands import (
    apply,
    edge,
    gc,
    keys,
    plan,
    prefetch,
    releases,
    relink,
    restart,
    rollback,
    settings,
    status,
    tune,
    validate,
    why,
)
from mms_server.host.supervisor import Supervisor

PROGRAM: Final = Program(
    "mms",
    "Decide and see what this host serves.",
    (
        validate.COMMAND,
        plan.COMMAND,
        apply.COMMAND,
        prefetch.COMMAND,
        rollback.COMMAND,
        edge.COMMAND,
        status.COMMAND,
        restart.COMMAND,
        relink.COMMAND,
        releases.COMMAND,
        gc.COMMAND,
        tune.COMMAND,
        why.COMMAND,
        keys.COMMAND,
        settings.COMMAND,
    ),
    interrupted="interrupted; what was begun was put back.",
)


def main(argv: Sequence[str] | None = None, supervisor: Supervisor | None = None) -> int:
    """Run one command; return its exit code."""
    return PROGRAM.main(argv, supervisor)
