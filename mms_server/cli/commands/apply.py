"""``mms apply``."""

from __future__ import annotations

import argparse

from mms_server.cli import output
from mms_server.cli.command_line import Answer, Command, add_allow_gap, add_conf
from mms_server.deploy import apply
from mms_server.deploy.host_context import Host


def run(host: Host, options: argparse.Namespace) -> Answer:
    """Make this host serve what mms.conf says; after a failure it serves what it served before."""
    outcome = apply.apply(host, options.conf, allow_gap=options.allow_gap)
    return output.outcome_json(outcome), output.outcome_text(outcome, done=True)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_conf(parser)
    add_allow_gap(parser)


COMMAND = Command("apply", run, "mms apply --conf /efs/models/mms.conf --json", add_options)
