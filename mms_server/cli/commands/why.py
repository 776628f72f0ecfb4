"""``mms why``."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from mms_server.cli.command_line import Answer, Command
from mms_server.crashes import explain
from mms_server.deploy.host_context import Host


def run(host: Host, options: argparse.Namespace) -> Answer:
    """Show why processes died: by model, release, request or certificate id."""
    found = explain.find(host.layout, options.name)
    return {"deaths": [asdict(row) for row in found]}, explain.text(options.name, found)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    about = "a model, a release, an X-Request-Id, or the id of a death certificate"
    parser.add_argument("name", metavar="NAME", help=about)


COMMAND = Command("why", run, "mms why digits", add_options)
