"""``mms prefetch``."""

from __future__ import annotations

import argparse

from mms_server.cli.command_line import Answer, Command, add_conf
from mms_server.deploy import apply
from mms_server.deploy.host_context import Host


def run(host: Host, options: argparse.Namespace) -> Answer:
    """Put the archives of mms.conf into the store; what is served does not change."""
    found = apply.prefetch(host, options.conf)
    lines = [f"{model}: {digest[:12]} is in the store" for model, digest in found.items()]
    return {"models": dict(found)}, "\n".join(lines)


COMMAND = Command("prefetch", run, "mms prefetch --conf /efs/models/mms.conf", add_conf)
