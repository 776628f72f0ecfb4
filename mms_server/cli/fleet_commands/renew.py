"""``mms-fleet renew``."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from mms_server.cli.command_line import Answer, Command
from mms_server.cli.fleet_options import add_run
from mms_server.deploy.host_context import Host
from mms_server.fleet import lease


def run(host: Host, options: argparse.Namespace) -> Answer:
    """Extend the lease of a run."""
    taken = lease.renew(options.share, options.run, host.now(), options.valid_s)
    return asdict(taken), f"The lease ends at {taken.expires_at}."


COMMAND = Command("renew", run, "mms-fleet renew --run 1 --valid-s 600", add_run)
