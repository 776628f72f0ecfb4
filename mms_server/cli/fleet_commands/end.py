"""``mms-fleet end``."""

from __future__ import annotations

import argparse

from mms_server.cli.command_line import Answer, Command
from mms_server.cli.fleet_options import add_run, read_input
from mms_server.deploy.host_context import Host
from mms_server.fleet import audit_log, lease, publication


def run(host: Host, options: argparse.Namespace) -> Answer:
    """End a run: approve its publication (--approve), write the journal, give the lease back."""
    share = options.share
    lease.renew(share, options.run, host.now(), options.valid_s)
    current = publication.linked(share.current)
    changed = False
    if options.approve and current is not None:
        changed = publication.linked(share.approved) != current
        publication.approve(share, current)
        publication.prune(share)
    record = read_input()
    if record:
        at = host.now().isoformat(timespec="seconds")
        audit_log.append(share.journal, {"at": at, "run": options.run, **record})
    lease.give_back(share, options.run)
    return {"changed": changed, "approved": publication.linked(share.approved)}, "Ended."


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_run(parser)
    about = "approve: the whole fleet serves the current publication"
    parser.add_argument("--approve", action="store_true", help=about)


COMMAND = Command("end", run, "mms-fleet end --run 1 --approve < record.json", add_options)
