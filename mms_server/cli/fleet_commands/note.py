"""``mms-fleet note``."""

from __future__ import annotations

import argparse

from mms_server.cli.command_line import Answer, Command
from mms_server.cli.fleet_options import add_share, read_input
from mms_server.deploy.host_context import Host
from mms_server.fleet import audit_log, reconcile


def run(host: Host, options: argparse.Namespace) -> Answer:
    """Record on this host what a run did to it; reads the record as JSON from standard input."""
    record = read_input()
    if record:
        at = host.now().isoformat(timespec="seconds")
        audit_log.append(host.layout.journal, {"at": at, **record})
    changed = options.number is not None and reconcile.mark(host.layout, options.number)
    return {"changed": changed}, "Written down."


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_share(parser)
    about = "the publication that this host was brought to"
    parser.add_argument("--number", type=int, metavar="N", help=about)


COMMAND = Command("note", run, "mms-fleet note --number 12 < record.json", add_options)
