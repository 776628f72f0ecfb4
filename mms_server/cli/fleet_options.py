"""Options and input that several commands of ``mms-fleet`` share."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

from mms_server.core.errors import MMSError
from mms_server.fleet.shared_paths import Share

DEFAULT_SHARE: Final = "/efs/models"


def add_share(parser: argparse.ArgumentParser) -> None:
    """Add ``--share``."""
    about = "the shared directory (default: %(default)s)"
    parser.add_argument("--share", type=_share, metavar="SHARE", default=DEFAULT_SHARE, help=about)


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add the options of a command that belongs to a run, which has the lease."""
    add_share(parser)
    parser.add_argument("--run", default="", help="name of the run")
    about = "seconds until the lease ends (default: %(default)s)"
    parser.add_argument("--valid-s", type=float, default=600.0, metavar="S", help=about)


def read_input() -> dict[str, Any]:
    """Return the JSON object on standard input, an empty one if there is no input.

    Raises:
        MMSError: it is no object of JSON.
    """
    text = "" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.read()
    try:
        value = json.loads(text or "{}")
    except ValueError as error:
        fix = "give one object."
        raise MMSError(f"standard input is no JSON: {error}.", fix=fix) from error
    if not isinstance(value, dict):
        raise MMSError("standard input is no object of JSON.", fix="give one object.")
    return value


def _share(text: str) -> Share:
    return Share(Path(text))
