"""``mms tune``."""

from __future__ import annotations

import argparse
import re
from dataclasses import asdict

from mms_server.cli import output
from mms_server.cli.command_line import Answer, Command, add_check, add_conf
from mms_server.deploy.host_context import Host
from mms_server.tuning import tune


def run(host: Host, options: argparse.Namespace) -> Answer:
    """Measure a model with several settings, and write the best ones into mms.conf."""
    file = None if options.check else options.conf
    tuned = tune.tune(host, options.model, options.p99, file)
    answer = {**asdict(tuned), "changed": tuned.changed and bool(tuned.written)}
    return answer, output.tuned_text(tuned)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_conf(parser, written=True)
    add_check(parser)
    parser.add_argument("model", metavar="MODEL", help="a model that this host serves")
    about = "longest time for 99 of 100 answers, for example 50ms or 0.5s"
    parser.add_argument("--p99", type=_milliseconds, required=True, metavar="TIME", help=about)


def _milliseconds(text: str) -> float:
    """Return a time in milliseconds."""
    match = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)(ms|s)", text)
    value = float(match[1]) * (1000 if match[2] == "s" else 1) if match else 0.0
    if not value:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time: write 50ms, or 0.5s")
    return value


COMMAND = Command("tune", run, "mms tune digits --p99 50ms --check", add_options)
