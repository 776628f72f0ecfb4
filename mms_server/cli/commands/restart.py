"""``mms restart``."""

from __future__ import annotations

import argparse

from mms_server.cli.command_line import Answer, Command
from mms_server.deploy import operate
from mms_server.deploy.host_context import Host


def run(host: Host, options: argparse.Namespace) -> Answer:
    """Restart models one after the other; requests wait in their sockets meanwhile."""
    done = operate.restart(host, options.models)
    return {"restarted": done}, f"Restarted: {', '.join(done) or 'nothing is served here'}."


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("models", nargs="*", metavar="MODEL", help="models (default: all)")


COMMAND = Command("restart", run, "mms restart digits", add_options)
