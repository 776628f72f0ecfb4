"""The command ``mxnet-model-server``: the name of two programs of MXNet Model Server 0.4.

With a word (``start``, ``stop`` ...) or ``--mms-config`` it controls the host, as the control
script of the containers did (compatibility.md, 4). With ``--models`` it is the standalone server
(section 6). The modules of both are imported only when it is known which one runs: the standalone
server has to replace parts of the standard library first.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from mms_server.core import console
from mms_server.server.process_exit import run_and_end

USAGE: Final = """\
usage: mxnet-model-server [start | stop | restart | status | help] [--mms-config FILE]
       mxnet-model-server --models NAME=LOCATION [NAME=LOCATION ...] [options]

On a host, words and flags in any order and any case:
  start     serve what FILE says; refused while the server runs
  stop      stop after the last request; a boot, `start` or `restart` serves again
  restart   serve what FILE says with new processes; starts a stopped server
  status    exit code 0: it runs, 1: a part of it does not, 3: it is stopped, 4: unknown
  help      show this
  --mms-config FILE, --mms-conf FILE   the configuration (default: the one in use)
  --version   print the version
Standalone, on a laptop: `mxnet-model-server --models m=m.model`; `--help` lists its options.
"""
_WORDS: Final = ("start", "stop", "restart", "status", "help")
_CONF_FLAGS: Final = ("--mms-config", "--mms-conf")
_HELP: Final = ("-h", "--help")
_VERSION: Final = "--version"
_PROGRAM: Final = "mxnet-model-server"
_FAILED: Final = 1


class _UsageError(Exception):
    """The command line is not valid."""


@dataclass(frozen=True)
class Invocation:
    """A parsed command line; ``conf`` is None for the configuration in use."""

    word: str
    conf: Path | None


def is_standalone(argv: Sequence[str]) -> bool:
    """Return whether the command line is for the standalone server."""
    flags = [word.partition("=")[0] for word in argv if word.startswith("-")]
    if any(len(flag) > len("--m") and "--models".startswith(flag) for flag in flags):
        return True
    words = {word.lower() for word in (*argv, *flags)}
    return bool(flags) and words.isdisjoint((*_WORDS, *_CONF_FLAGS))


def read_order(argv: Sequence[str]) -> Invocation:
    """Return the parsed command line for a host.

    Raises:
        _UsageError: there is no word, several, an unknown one, or no file after the flag.
    """
    words: list[str] = []
    conf: str | None = None
    rest = list(argv)
    while rest:
        text = rest.pop(0)
        flag, equals, value = text.partition("=")
        if flag.lower() in _CONF_FLAGS:
            conf = value if equals else (rest.pop(0) if rest else "")
            if not conf:
                raise _UsageError(f"{flag} needs the path of an mms.conf.")
        elif text.lower() in (*_WORDS, *_HELP):
            words.append("help" if text.lower() in _HELP else text.lower())
        else:
            raise _UsageError(f"{text!r} is not understood.")
    if "help" in words:
        return Invocation("help", None)
    if len(set(words)) != 1:
        raise _UsageError(f"{len(set(words))} words were given, one is needed.")
    return Invocation(words[0], Path(conf) if conf else None)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code, for a word 0 or 1 (``status``: see the usage)."""
    words = list(sys.argv[1:] if argv is None else argv)
    if _VERSION in (word.lower() for word in words):
        print(console.version_text(_PROGRAM))
        return 0
    if is_standalone(words):
        from mms_server.cli.standalone import cmd  # noqa: PLC0415 - a host's words need none of it

        return cmd.main(words)
    try:
        order = read_order(words)
    except _UsageError as error:
        sys.stderr.write(f"Invalid options given: {error}\n{USAGE}")
        return _FAILED
    if order.word == "help":
        sys.stdout.write(USAGE)
        return 0
    from mms_server.cli import server_cmds  # noqa: PLC0415 - the standalone server needs none of it

    return server_cmds.control(order.word, order.conf)


def command() -> NoReturn:
    """Run ``mxnet-model-server`` and end the process."""
    run_and_end(main)
