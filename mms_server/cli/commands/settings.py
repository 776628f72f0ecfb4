"""``mms settings``."""

from __future__ import annotations

import argparse
from pathlib import Path

from mms_server.cli.command_line import Answer, Command
from mms_server.config import settings
from mms_server.deploy.host_context import Host


def run(host: Host, options: argparse.Namespace) -> Answer:
    """Show the server's settings, or check a settings file."""
    values = settings.read(options.file) if options.file else host.settings
    text = settings.as_markdown if options.format == "markdown" else settings.as_toml
    return {row.name: getattr(values, row.name) for row in settings.rows()}, text(values).rstrip()


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("--format", choices=("toml", "markdown"), default="toml")
    parser.add_argument("--file", type=Path, help="read this file in place of the host's")


def needs_settings(options: argparse.Namespace) -> bool:
    """Return whether the host's settings are read: a new file must be checkable if they are bad."""
    return options.file is None


COMMAND = Command("settings", run, "mms settings --format markdown", add_options, needs_settings)
