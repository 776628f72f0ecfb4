"""``mms gc``."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from mms_server.cli import output
from mms_server.cli.command_line import LOCK_WAIT_S, Answer, Command, add_check
from mms_server.deploy import retire
from mms_server.deploy.host_context import Host
from mms_server.deploy.prune import find_unused, prune
from mms_server.host.lock import locked


def run(host: Host, options: argparse.Namespace) -> Answer:
    """Stop releases that are no longer kept warm, and remove what no kept generation needs."""
    if options.check:
        ended, found = retire.find_overdue(host), find_unused(host)
    else:
        with locked(host.layout, "mms gc", host.now(), wait_s=LOCK_WAIT_S):
            ended, found = retire.end_overdue(host), prune(host)
    answer = {"changed": bool(ended or found), "ended": ended, **asdict(found)}
    return answer, output.gc_text(ended, found, done=not options.check)


COMMAND = Command("gc", run, "mms gc --check", add_check)
