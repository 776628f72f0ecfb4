"""``mms-fleet journal``."""

from __future__ import annotations

import argparse
from typing import Final

from mms_server.cli.command_line import Answer, Command
from mms_server.cli.fleet_options import add_share
from mms_server.core.formatting import table
from mms_server.deploy.host_context import Host
from mms_server.fleet import audit_log

_SHOWN: Final = 20
_COLUMNS: Final = ("at", "who", "what", "result", "summary")


def run(_host: Host, options: argparse.Namespace) -> Answer:
    """Show the newest records of the journal."""
    records = audit_log.read(options.share.journal, options.last)
    rows = [tuple(_first_line(each.get(key)) for key in _COLUMNS) for each in records]
    return {"records": records}, table([tuple(key.upper() for key in _COLUMNS), *rows])


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_share(parser)
    parser.add_argument("--last", type=int, default=_SHOWN, metavar="COUNT")


def _first_line(value: object) -> str:
    return next(iter(str(value or "").splitlines()), "")


COMMAND = Command("journal", run, "mms-fleet journal --last 5", add_options)
