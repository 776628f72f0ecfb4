"""``mms-fleet hold``."""

from __future__ import annotations

import argparse

from mms_server.cli.command_line import Answer, Command
from mms_server.cli.fleet_options import add_share
from mms_server.deploy.host_context import Host
from mms_server.fleet import reconcile


def run(_host: Host, options: argparse.Namespace) -> Answer:
    """Keep hosts from changing by themselves until `resume`."""
    changed = reconcile.hold_of(options.share) != options.reason.strip()
    reconcile.hold(options.share, options.reason)
    return {"changed": changed}, "No host changes by itself now; `mms-fleet resume` ends this."


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_share(parser)
    parser.add_argument("--reason", required=True, help="the reason, which is shown to users")


COMMAND = Command("hold", run, "mms-fleet hold --reason 'hosts are being moved'", add_options)
