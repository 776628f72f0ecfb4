"""``mms releases``."""

from __future__ import annotations

import argparse

from mms_server.cli import output
from mms_server.cli.command_line import Answer, Command
from mms_server.deploy import operate
from mms_server.deploy.host_context import Host
from mms_server.host.generations import readable


def run(host: Host, _options: argparse.Namespace) -> Answer:
    """List the generations and releases on this host, and what is kept warm."""
    kept = readable(host.layout)
    directory = host.layout.releases
    names = sorted(path.name for path in directory.iterdir()) if directory.is_dir() else []
    rows = [(name, host.release(name)) for name in names]
    warm = operate.warm_releases(host.observe({})) if kept else {}
    answer = output.releases_json(kept, rows, warm)
    return answer, output.releases_text(answer)


COMMAND = Command("releases", run, "mms releases --json")
