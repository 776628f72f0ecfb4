"""What all programs print and return: version, JSON, errors, exit codes.

The imports are few: a program that has to be quick, or that replaces parts of the standard library
first, can use this module.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any, Final

import mms_server

FAILED: Final = 4
"""Exit code for an error of the operating system."""

INTERRUPTED: Final = 130
"""Exit code after Ctrl-C, as shells have it."""


def version_text(program: str) -> str:
    """Return what ``--version`` prints."""
    return f"{program} {mms_server.__version__}"


def add_version(parser: argparse.ArgumentParser) -> None:
    """Add ``--version``."""
    text = "print the version and exit"
    parser.add_argument("--version", action="version", version=version_text("%(prog)s"), help=text)


def print_json(answer: Any) -> None:
    """Print an answer as one JSON object."""
    print(json.dumps(answer, indent=2, sort_keys=True))


def reporter(program: str) -> Callable[[str], None]:
    """Return a function that prints a line on standard error at once."""

    def report(text: str) -> None:
        sys.stderr.write(f"{program}: {text}\n")
        sys.stderr.flush()

    return report


def cause_of(error: OSError) -> str:
    """Return an error of the operating system in words, with the path if it is known."""
    place = f"{error.filename}: " if error.filename else ""
    return f"{place}{error.strerror or error}."
