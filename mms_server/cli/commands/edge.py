"""``mms edge``."""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict

from mms_server.cli.command_line import LOCK_WAIT_S, Answer, Command, add_check, add_conf
from mms_server.config import mms_conf
from mms_server.deploy import nginx_config
from mms_server.deploy.host_context import Host
from mms_server.host.lock import locked


def run(host: Host, options: argparse.Namespace) -> Answer:
    """Configure nginx as [Nginx Configurations] and --bind of mms.conf say."""
    parsed = mms_conf.read(options.conf)
    if options.check:
        outcome, _edge = nginx_config.check(host.layout, parsed, os.environ, host.proxy)
    else:
        with locked(host.layout, "mms edge", host.now(), wait_s=LOCK_WAIT_S):
            outcome = nginx_config.install(host.layout, parsed, os.environ, host.proxy)
    words = "serves as"
    if options.check and outcome.changed:
        words = "accepts what"
    text = f"nginx {words} {options.conf} says; router at {outcome.listen}."
    if outcome.cut:
        text += f" {outcome.cut} connections of clients were still open when it was reloaded."
    return asdict(outcome), text


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_conf(parser)
    add_check(parser)


COMMAND = Command("edge", run, "mms edge --conf /efs/models/mms.conf --check", add_options)
