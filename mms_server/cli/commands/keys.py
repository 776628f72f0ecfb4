"""``mms keys``."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from mms_server.cli.command_line import Answer, Command
from mms_server.deploy.host_context import Host
from mms_server.server import auth


def run(host: Host, options: argparse.Namespace) -> Answer:
    """Make a key for a client, or list the valid keys of this host; nothing is written."""
    if options.new:
        key = auth.new_key()
        row = {"name": auth.check_name(options.new), "sha256": auth.digest(key)}
        line = f"- {{name: {row['name']}, sha256: {row['sha256']}}}"
        about = "Give the key to the client. Put only its digest into nginx_proxy_api_keys:"
        return {**row, "key": key}, f"{key}\n{about}\n{line}"
    found = auth.read(options.file or host.layout.etc / auth.FILE_NAME)
    rows = [asdict(row) for row in found]
    return {"keys": rows}, "\n".join(f"{row.name}: {row.sha256}" for row in found) or "No key."


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    about = "print a new key for this client, and its digest"
    parser.add_argument("--new", metavar="NAME", help=about)
    parser.add_argument("--file", type=Path, help="read this file in place of the host's")


COMMAND = Command("keys", run, "mms keys --new shop", add_options)
