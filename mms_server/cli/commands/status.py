"""``mms status``."""

from __future__ import annotations

import argparse

from mms_server.cli import output
from mms_server.cli.command_line import Answer, Command
from mms_server.deploy import operate
from mms_server.deploy.host_context import Host


def run(host: Host, _options: argparse.Namespace) -> Answer:
    """Show the live generation and the state of its models."""
    generation, rows = operate.status(host)
    return output.status_json(generation, rows), output.status_text(generation, rows)


COMMAND = Command("status", run, "mms status")
