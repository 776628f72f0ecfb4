"""``mms-fleet resume``."""

from __future__ import annotations

import argparse

from mms_server.cli.command_line import Answer, Command
from mms_server.cli.fleet_options import add_share
from mms_server.deploy.host_context import Host
from mms_server.fleet import reconcile


def run(_host: Host, options: argparse.Namespace) -> Answer:
    """Let hosts change by themselves again."""
    return {"changed": reconcile.resume(options.share)}, "Hosts change by themselves."


COMMAND = Command("resume", run, "mms-fleet resume", add_share)
