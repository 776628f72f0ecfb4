"""Logging: the handlers, the formats and the rotation of the log file (compatibility.md, 12).

Log lines go to stderr, which is the journal on a host. With ``--log-file`` they also go to a file
that all processes of all models share. The file is rotated under a lock, so that no line is lost.
The number of old files is limited.
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
FILE_FORMAT: Final = (
    "[%(levelname)s %(asctime)s PID:%(process)d %(pathname)s:%(funcName)s:%(lineno)d] %(message)s"
)
JOURNAL_FORMAT: Final = "%(levelname)s %(name)s: %(message)s"
"""The format for the journal, which adds the time and the process itself."""

_ROTATION: Final = re.compile(r"(?:([1-9][0-9]{0,5}) +)?(S|M|H|D|W[0-6]|MIDNIGHT)", re.IGNORECASE)
_COLORS: Final = {"WARNING": 33, "ERROR": 31, "CRITICAL": 35, "DEBUG": 36}


class LogError(MMSError):
    """A log option is invalid, or the log file cannot be written."""


@dataclass(frozen=True)
class Log:
    """The log settings of a process; ``file`` is an absolute path, or empty for no file.

    ``rotation`` has the form of ``--log-rotation-time``. ``kept`` is the number of old files that
    rotation keeps.
    """

    level: str = DEFAULT_LEVEL
    file: str = ""
    rotation: str = DEFAULT_ROTATION
    kept: int = DEFAULT_KEPT


def parse_rotation(text: str) -> tuple[int, str]:
    """Return number and unit of ``N W``: W is S, M, H, D, W0 to W6 or midnight; N defaults to 1.

    Raises:
        LogError: the text does not have this form.
    """
    found = _ROTATION.fullmatch(text.strip())
    if found is None:
        fix = 'write "N W" like "1 H": N from 1, W one of S M H D W0 to W6 midnight.'
        raise LogError(f"--log-rotation-time {text} is not a time of rotation.", fix=fix)
    return int(found[1] or 1), found[2].upper()


def set_up(log: Log, stderr_format: str) -> None:
    """Set up logging by ``log``, for this process and for the workers that it forks.

    Raises:
        LogError: the rotation is invalid, or the file cannot be written.
    """
    stderr = logging.StreamHandler()
    formatter = _ColorFormatter if sys.stderr.isatty() else logging.Formatter
    stderr.setFormatter(formatter(stderr_format))
    handlers: list[logging.Handler] = [stderr]
    if log.file:
        handlers.append(file_handler(log))
    logging.basicConfig(level=log.level, handlers=handlers, force=True)


def file_handler(log: Log) -> logging.Handler:
    """Return the handler that writes ``log.file`` and rotates it.

    Raises:
        LogError: as for :func:`set_up`.
    """
    # It imports `socket`. The standalone server reads its options before gevent patches `socket`.
    from concurrent_log_handler import ConcurrentTimedRotatingFileHandler  # noqa: PLC0415

    interval, when = parse_rotation(log.rotation)
    path = Path(log.file)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The handler opens the file at the first line only, and then nobody sees the error.
        path.open("a").close()
        handler = ConcurrentTimedRotatingFileHandler(
            str(path), when=when, interval=interval, backupCount=log.kept, encoding="utf-8"
        )
    except OSError as error:
        cause = f"the log file {path} cannot be written: {error.strerror}."
        raise LogError(cause, fix="give another path with --log-file.") from error
    handler.setFormatter(logging.Formatter(FILE_FORMAT))
    return handler


class _ColorFormatter(logging.Formatter):
    """Colors lines by level, for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        color = _COLORS.get(record.levelname)
        return f"\x1b[{color}m{text}\x1b[0m" if color else text
