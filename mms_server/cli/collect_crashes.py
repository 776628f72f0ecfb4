"""Collect crash reports as root: the command ``mms-collect-crashes RELEASE [--ended]``.

It collects the certificates that a release's masters have written. With ``--ended`` it also
certifies the end of the master, which the environment of ``ExecStopPost=`` describes.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mms_server.core import console, process
from mms_server.core.paths import Layout
from mms_server.crashes.collector import CrashCollector
from mms_server.host.cgroup import Cgroup

_RELEASE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\.[0-9a-f]{8}")
_JOURNAL_S: Final = 10.0
_LINES: Final = 20
_report = console.reporter("mms-collect-crashes")


def main(argv: Sequence[str] | None = None) -> int:
    """Collect; return the exit code."""
    parser = argparse.ArgumentParser(prog="mms-collect-crashes", description=__doc__)
    console.add_version(parser)
    parser.add_argument("release", type=_release, help="id of the release: <model>.<8 hex>")
    parser.add_argument("--ended", action="store_true", help="the release's master has ended")
    parser.add_argument("--layout-root", type=Path, default=Path("/"), help="stands for / in tests")
    options = parser.parse_args(argv)
    collector = CrashCollector(Layout.under(options.layout_root), journal, _report, time.time)
    try:
        if options.ended:
            collector.ended(options.release, os.environ, Cgroup.current())
        else:
            collector.collect(options.release)
    except OSError as error:
        _report(f"{console.cause_of(error)} Fix: make room below /var/lib/mms.")
        return console.FAILED
    return 0


def journal(release_id: str) -> tuple[str, ...]:
    """Return the last log lines of a release, none if the journal cannot be read."""
    unit = f"mms@{release_id}.service"
    command = ["journalctl", "--no-pager", "--quiet", "--output=cat", "--unit", unit]
    try:
        found = process.run([*command, "--lines", str(_LINES)], _JOURNAL_S).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(found.splitlines()[-_LINES:])


def _release(text: str) -> str:
    if not _RELEASE.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a release: <model>.<8 hex>")
    return text
