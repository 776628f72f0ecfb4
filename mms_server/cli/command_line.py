"""The parts that ``mms`` and ``mms-fleet`` share: a program, its commands, and running one.

Each command is a module with a :class:`Command`. A program lists its commands, parses the command
line, makes the :class:`Host`, runs one command, prints its answer and returns the exit code.
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mms_server.cli import output
from mms_server.config import settings
from mms_server.core import console
from mms_server.core.errors import MMSError
from mms_server.core.paths import Layout
from mms_server.deploy.host_context import Host
from mms_server.host.supervisor import Supervisor
from mms_server.host.systemd import Systemd

DEFAULT_CONF: Final = Path("/efs/models/mms.conf")
LOCK_WAIT_S: Final = 60.0
"""Longest wait of a command for another one that changes the host."""

EXIT_CODES: Final = "exit codes: 0 done or nothing to do, 2 bad input, 3 refused, 4 failed"

Answer = tuple[dict[str, Any], str]
"""The answer of a command: as JSON, and as text."""


class AnsweredError(Exception):
    """A command fails with ``error`` and has an answer: both are printed."""

    def __init__(self, error: MMSError, details: Mapping[str, Any], text: str = "") -> None:
        super().__init__(str(error))
        self.error = error
        self.details = details
        self.text = text


def _no_options(_parser: argparse.ArgumentParser) -> None:
    pass


def _always(_options: argparse.Namespace) -> bool:
    return True


@dataclass(frozen=True)
class Command:
    """One command: the docstring of ``run`` is its help, ``add_options`` adds its own options.

    ``needs_settings`` returns whether the command fails if the host's settings are wrong.
    """

    name: str
    run: Callable[[Host, argparse.Namespace], Answer]
    example: str
    add_options: Callable[[argparse.ArgumentParser], None] = _no_options
    needs_settings: Callable[[argparse.Namespace], bool] = _always


@dataclass(frozen=True)
class Program:
    """A program with commands; ``interrupted`` is its message after Ctrl-C."""

    name: str
    about: str
    commands: tuple[Command, ...]
    interrupted: str

    def parser(self) -> argparse.ArgumentParser:
        """Return the parser of the command line."""
        top = argparse.ArgumentParser(prog=self.name, description=self.about, epilog=EXIT_CODES)
        console.add_version(top)
        top.add_argument("--layout-root", type=Path, default=Path("/"), help=argparse.SUPPRESS)
        parsers = top.add_subparsers(required=True, metavar="COMMAND", dest="command")
        for command in self.commands:
            about = command.run.__doc__ or ""
            parser = parsers.add_parser(
                command.name,
                help=about,
                description=about,
                epilog=f"example: {command.example}\n{EXIT_CODES}",
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
            parser.add_argument("--json", action="store_true", help="print one JSON object")
            command.add_options(parser)
            parser.set_defaults(chosen=command)
        return top

    def main(self, argv: Sequence[str] | None, supervisor: Supervisor | None = None) -> int:
        """Run one command; return its exit code."""
        options = self.parser().parse_args(argv)
        command: Command = options.chosen
        # Workers and the control application run as other users, and read the written files.
        os.umask(0o022)
        try:
            layout = Layout.under(options.layout_root)
            host = make_host(
                layout,
                read_settings(layout) if command.needs_settings(options) else settings.Settings(),
                supervisor or Systemd(),
                console.reporter(self.name),
            )
            answer, text = command.run(host, options)
        except AnsweredError as error:
            if error.text and not options.json:
                print(error.text)
            return self._fail(error.error, options, error.details)
        except MMSError as error:
            return self._fail(error, options)
        except OSError as error:
            fix = "check the path, its permissions (run it as root) and the free space."
            self._fail(MMSError(console.cause_of(error), fix=fix), options)
            return console.FAILED
        except KeyboardInterrupt:
            sys.stderr.write(f"{self.name}: {self.interrupted}\n")
            return console.INTERRUPTED
        if options.json:
            console.print_json(answer)
        else:
            print(text)
        return 0

    def _fail(
        self,
        error: MMSError,
        options: argparse.Namespace,
        details: Mapping[str, Any] | None = None,
    ) -> int:
        if options.json:
            console.print_json({**(details or {}), **output.error_json(error)})
        sys.stderr.write(f"{self.name}: error: {error}\n")
        return error.exit_code


def read_settings(layout: Layout) -> settings.Settings:
    """Return the host's settings.

    Raises:
        MMSError: the file is wrong.
    """
    return settings.read(layout.etc / settings.FILE_NAME)


def make_host(
    layout: Layout,
    values: settings.Settings,
    supervisor: Supervisor,
    report: Callable[[str], None],
) -> Host:
    """Return this host, for a command that the current user runs."""
    return Host(layout, values, supervisor, current_user(), report)


def current_user() -> str:
    """Return the user who runs the command, for the records."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def add_conf(parser: argparse.ArgumentParser, *, written: bool = False) -> None:
    """Add ``--conf``; ``written`` if the command also writes the file."""
    about = f"the mms.conf to read{', and to write' if written else ''} (default: %(default)s)"
    parser.add_argument("--conf", type=Path, default=DEFAULT_CONF, help=about)


def add_allow_gap(parser: argparse.ArgumentParser) -> None:
    """Add ``--allow-gap``."""
    about = "start a release that does not fit beside the old one after the old one's end"
    parser.add_argument("--allow-gap", action="store_true", help=about)


def add_check(parser: argparse.ArgumentParser) -> None:
    """Add ``--check``."""
    parser.add_argument("--check", action="store_true", help="only show what would be done")
