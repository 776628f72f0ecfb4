"""``mms-fleet heal``."""

from __future__ import annotations

import argparse
import os

from mms_server.cli import output
from mms_server.cli.command_line import LOCK_WAIT_S, Answer, Command, add_check
from mms_server.cli.fleet_options import add_share
from mms_server.config import mms_conf
from mms_server.deploy import apply, nginx_config
from mms_server.deploy.host_context import Host
from mms_server.fleet import audit_log, reconcile
from mms_server.host.lock import locked


def run(host: Host, options: argparse.Namespace) -> Answer:
    """Bring this host to the approved publication, unless it was brought there already."""
    share = options.share
    judged = reconcile.judge(share, host.layout, host.now())
    if judged.number is None or options.check:
        return {"changed": judged.number is not None, "why": judged.why}, judged.why
    host.report(judged.why)
    parsed = mms_conf.read(share.conf)
    nginx_config.check(host.layout, parsed, os.environ, host.proxy)
    outcome = apply.apply(host, share.conf)
    with locked(host.layout, "mms-fleet heal", host.now(), wait_s=LOCK_WAIT_S):
        nginx_config.install(host.layout, parsed, os.environ, host.proxy)
    reconcile.mark(host.layout, judged.number)
    at = host.now().isoformat(timespec="seconds")
    record = {"at": at, "what": "heal", "publication": judged.number, "result": "done"}
    audit_log.append(host.layout.journal, record)
    answer = {**output.outcome_json(outcome), "why": judged.why}
    return answer, f"{judged.why}\n{output.outcome_text(outcome, done=True)}"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_share(parser)
    add_check(parser)


COMMAND = Command("heal", run, "mms-fleet heal --check", add_options)
