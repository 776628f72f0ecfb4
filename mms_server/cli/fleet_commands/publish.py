"""``mms-fleet publish``."""

from __future__ import annotations

import argparse

from mms_server.cli.command_line import Answer, Command, add_check, current_user
from mms_server.cli.fleet_options import add_run, read_input
from mms_server.deploy.host_context import Host
from mms_server.fleet import lease, publication


def run(host: Host, options: argparse.Namespace) -> Answer:
    """Publish contents on the share; reads {conf, places} as JSON from standard input."""
    share, wanted = options.share, read_input()
    conf_digest, places = str(wanted["conf"]), dict(wanted["places"])
    if options.check:
        changed = publication.plan(share, {**places, share.conf.name: conf_digest})
        done = {"changed": bool(changed), "places": changed, "number": None}
        return done, f"Would change: {', '.join(changed) or 'nothing'}."
    lease.renew(share, options.run, host.now(), options.valid_s)
    outcome = publication.publish(share, conf_digest, places, options.by, host.now())
    answer = {
        "changed": bool(outcome.changed) or outcome.made,
        "places": list(outcome.changed),
        "number": outcome.number,
        "approved": publication.linked(share.approved),
    }
    return answer, f"Publication {outcome.number} is on the share."


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_run(parser)
    add_check(parser)
    about = "who publishes (default: %(default)s)"
    parser.add_argument("--by", default=current_user(), help=about)


COMMAND = Command("publish", run, "mms-fleet publish --run 1 --by me < places.json", add_options)
