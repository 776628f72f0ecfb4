"""``mms validate``."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from mms_server.archives.resolver import ArchiveResolver
from mms_server.cli.command_line import Answer, Command, add_conf
from mms_server.config import mms_conf
from mms_server.deploy import desired_state
from mms_server.deploy.host_context import Host


def run(host: Host, options: argparse.Namespace) -> Answer:
    """Check mms.conf and its archives; works on any machine."""
    parsed = mms_conf.read(options.conf)
    _log, moved = desired_state.log_of(parsed, host.settings, host.layout.log)
    warnings = [*parsed.warnings, *moved]
    with tempfile.TemporaryDirectory(prefix="mms-validate-") as scratch:
        # An archive that the store already has need not be unpacked again.
        archives = ArchiveResolver(host.store, host.fetcher(Path(scratch)))
        found = [
            {"model": name, "archive": str(place), "sha256": digest}
            for name, place, digest in desired_state.check(parsed, archives, options.archives)
        ]
    answer = {
        "conf": str(options.conf),
        "models": found,
        "bind": parsed.bind,
        "workers": parsed.workers,
        "nginx": parsed.nginx,
        "environment": dict(parsed.environment),
        "warnings": warnings,
    }
    lines = [f"{row['model']}: {row['archive']} is a sound archive" for row in found]
    lines += [f"warning: {text}" for text in warnings]
    return answer, "\n".join([*lines, f"{options.conf} is good."])


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_conf(parser)
    about = "directory that is searched first, for the file name of each location"
    parser.add_argument("--archives", type=Path, metavar="DIR", help=about)


COMMAND = Command(
    "validate",
    run,
    "mms validate --conf build/models/mms.conf --archives build/models",
    add_options,
)
