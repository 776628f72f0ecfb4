"""``mms relink``."""

from __future__ import annotations

import argparse

from mms_server.cli.command_line import Answer, Command
from mms_server.deploy import operate
from mms_server.deploy.host_context import Host


def run(host: Host, _options: argparse.Namespace) -> Answer:
    """Rebuild the live links after a boot and let systemd match the newest generation."""
    done = operate.relink(host)
    return {"changed": bool(done), "done": done}, "\n".join(done) or "Nothing to do."


COMMAND = Command("relink", run, "mms relink")
