"""``mms-fleet begin``."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from mms_server.cli.command_line import Answer, AnsweredError, Command
from mms_server.cli.fleet_options import add_run
from mms_server.deploy.host_context import Host
from mms_server.fleet import lease
from mms_server.fleet.lease import Claim, FleetBusyError


def run(host: Host, options: argparse.Namespace) -> Answer:
    """Take the lease of the fleet for a run; if another run holds it, show which."""
    claim = Claim(options.run, options.owner, options.controller, options.process, options.purpose)
    try:
        taken = lease.take(options.share, claim, host.now(), options.valid_s, options.replaces)
    except FleetBusyError as error:
        raise AnsweredError(error, {"holder": asdict(error.holder)}) from error
    return asdict(taken), f"The lease ends at {taken.expires_at}."


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_run(parser)
    for name in ("owner", "controller", "process", "purpose"):
        parser.add_argument(f"--{name}", required=True, help="shown to runs that are refused")
    parser.add_argument(
        "--replaces", default="", metavar="RUN", help="a dead run, whose lease is taken"
    )


COMMAND = Command(
    "begin",
    run,
    "mms-fleet begin --run 1 --owner me --controller c --process 7 --purpose test",
    add_options,
)
