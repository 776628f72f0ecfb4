"""Where log lines go, and in which form (contract, section 12).

They go to stderr, which is the journal on a host. With ``--log-file`` they also go to a file that
all processes of all models share: it is rotated under a lock, so that no line is lost, and only so
many old files are kept.
"""

from __future__ import annotations

import logging
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mms_server.core.errors import MMSError

LEVELS: Final = ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG", "NOTSET")
DEFAULT_LEVEL: Final = "INFO"
DEFAULT_ROTATION: Final = "1 H"
DEFAULT_KEPT: Final = 48
FULL: Final = (
    "[%(levelname)s %(asctime)s PID:%(process)d %(pathname)s:%(funcName)s:%(lineno)d] %(message)s"
)
JOURNAL: Final = "%(levelname)s %(name)s: %(message)s"
"""The journal adds time and process itself."""

_ROTATION: Final = re.compile(r"(?:([1-9][0-9]{0,5}) +)?(S|M|H|D|W[0-6]|MIDNIGHT)", re.IGNORECASE)
_COLORS: Final = {"WARNING": 33, "ERROR": 31, "CRITICAL": 35, "DEBUG": 36}


class LogError(MMSError):
    """A log option is not understood, or the log file cannot be written."""


@dataclass(frozen=True)
class Log:
    """Where a process logs to; ``file`` is an absolute path, or empty for none.

    ``rotation`` is as in ``--log-rotation-time``, ``kept`` the number of old files that stay.
    """

    level: str = DEFAULT_LEVEL
    file: str = ""
    rotation: str = DEFAULT_ROTATION
    kept: int = DEFAULT_KEPT


def rotation(text: str) -> tuple[int, str]:
    """Return number and unit of ``N W``: W is S M H D W0-W6 midnight, N may be left out.

    Raises:
        LogError: it is not of this form.
    """
    found = _ROTATION.fullmatch(text.strip())
    if found is None:
        fix = 'write "N W" like "1 H": N from 1, W one of S M H D W0 to W6 midnight.'
        raise LogError(f"--log-rotation-time {text} is not a time of rotation.", fix=fix)
    return int(found[1] or 1), found[2].upper()


def set_up(log: Log, form: str) -> None:
    """Let this process and the workers it forks log as ``log`` says; ``form`` is for stderr.

    Raises:
        LogError: the rotation is not understood, or the file cannot be written.
    """
    to_stderr = logging.StreamHandler()
    to_stderr.setFormatter(_Colored(form) if sys.stderr.isatty() else logging.Formatter(form))
    handlers: list[logging.Handler] = [to_stderr]
    if log.file:
        handlers.append(file_handler(log))
    logging.basicConfig(level=log.level, handlers=handlers, force=True)


def file_handler(log: Log) -> logging.Handler:
    """Return the handler that writes ``log.file``.

    Raises:
        LogError: as for :func:`set_up`.
    """
    # It imports the network, and the standalone server reads its options before that is gevent's.
    from concurrent_log_handler import ConcurrentTimedRotatingFileHandler  # noqa: PLC0415

    interval, when = rotation(log.rotation)
    path = Path(log.file)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The handler would only tell at the first line, and then to nobody.
        path.open("a").close()
        handler = ConcurrentTimedRotatingFileHandler(
            str(path), when=when, interval=interval, backupCount=log.kept, encoding="utf-8"
        )
    except OSError as error:
        cause = f"the log file {path} cannot be written: {error.strerror}."
        raise LogError(cause, fix="give another path with --log-file.") from error
    handler.setFormatter(logging.Formatter(FULL))
    return handler


class _Colored(logging.Formatter):
    """Colors by level, for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        color = _COLORS.get(record.levelname)
        return f"\x1b[{color}m{text}\x1b[0m" if color else text
