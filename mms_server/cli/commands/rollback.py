"""``mms rollback``."""

from __future__ import annotations

import argparse

from mms_server.cli import output
from mms_server.cli.command_line import Answer, Command, add_allow_gap, add_check
from mms_server.cli.commands.plan import planned
from mms_server.deploy import apply
from mms_server.deploy.host_context import Host


def run(host: Host, options: argparse.Namespace) -> Answer:
    """Serve an earlier generation of this host again, from its own disk."""
    if options.check:
        return planned(apply.plan_rollback(host, options.to, allow_gap=options.allow_gap))
    outcome = apply.rollback(host, options.to, allow_gap=options.allow_gap)
    return output.outcome_json(outcome), output.outcome_text(outcome, done=True)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_allow_gap(parser)
    about = "number of the generation (default: the one before the live one)"
    parser.add_argument("--to", type=int, metavar="N", help=about)
    add_check(parser)


COMMAND = Command("rollback", run, "mms rollback --to 12", add_options)
