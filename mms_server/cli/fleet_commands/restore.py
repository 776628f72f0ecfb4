"""``mms-fleet restore``."""

from __future__ import annotations

import argparse

from mms_server.cli.command_line import Answer, Command, add_check
from mms_server.cli.fleet_options import add_run
from mms_server.core.errors import MMSError
from mms_server.deploy.host_context import Host
from mms_server.fleet import lease, publication


def run(host: Host, options: argparse.Namespace) -> Answer:
    """Restore a publication on the share, by default the approved one."""
    share, number, why = options.share, options.to, ""
    if number is None and options.earlier:
        found = publication.earlier(share)
        number, why = found.number, found.why
    elif number is None:
        number = publication.linked(share.approved)
    if number is None:
        fix = "publish what is wanted with playbooks/update_models.yml."
        raise MMSError("there is no publication to go back to.", fix=fix)
    wanted = publication.load(share, number)
    if options.check:
        changed = tuple(publication.differences(share, wanted))
    else:
        lease.renew(share, options.run, host.now(), options.valid_s)
        changed = publication.switch(share, wanted)
    answer = {"changed": bool(changed), "places": list(changed), "number": number, "why": why}
    return answer, f"Publication {number} is on the share{f': {why}' if why else ''}."


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_run(parser)
    add_check(parser)
    parser.add_argument("--to", type=int, metavar="N", help="number of the publication")
    about = "the publication that undoes the last change"
    parser.add_argument("--earlier", action="store_true", help=about)


COMMAND = Command("restore", run, "mms-fleet restore --run 1 --to 12", add_options)
