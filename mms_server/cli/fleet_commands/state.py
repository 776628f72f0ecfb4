"""``mms-fleet state``."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from mms_server.cli.command_line import Answer, Command
from mms_server.cli.fleet_options import add_share
from mms_server.core.formatting import table
from mms_server.deploy.host_context import Host
from mms_server.fleet import lease, publication, reconcile


def run(host: Host, options: argparse.Namespace) -> Answer:
    """Show who changes the fleet, what is published, and whether hosts may change by themselves."""
    share = options.share
    holder = lease.held(share, host.now())
    answer = {
        "lease": asdict(holder) if holder else None,
        "held": reconcile.hold_of(share),
        "current": publication.linked(share.current),
        "approved": publication.linked(share.approved),
        "publications": publication.numbers(share),
        "host": reconcile.marked(host.layout),
    }
    rows = [
        ("changed by", str(holder or "nobody now")),
        ("held", str(answer["held"] or "no")),
        ("current", str(answer["current"])),
        ("approved", str(answer["approved"])),
        ("this host", str(answer["host"])),
        ("kept", ", ".join(map(str, publication.numbers(share))) or "none"),
    ]
    return answer, table(rows)


COMMAND = Command("state", run, "mms-fleet state --json", add_share)
