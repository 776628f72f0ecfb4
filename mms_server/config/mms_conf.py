"""Parser of ``mms.conf``, the file that names what a host serves (compatibility.md, 3).

MXNet Model Server 0.4 read the file with two parsers that differed. This parser accepts each file
that one of them accepted. Blank lines, and comments that begin with ``#`` or ``$``, are allowed
anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mms_server.config import gunicorn_args, mms_args, model_settings_section
from mms_server.config.gunicorn_args import GunicornArg
from mms_server.config.mms_args import ModelSpec
from mms_server.config.model_settings import ModelSettings
from mms_server.core.errors import ConfError
from mms_server.core.files import FileTooLargeError, read_whole
from mms_server.core.io_timeout import with_io_timeout

__all__ = ["GunicornArg", "MmsConf", "ModelSpec", "parse", "read"]

MAX_BYTES: Final = 1024 * 1024
DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 8080

# A header is recognised by the first of these words that it contains (compatibility.md, 3.3).
_SECTIONS: Final = ("gunicorn", "mxnet", "nginx", "mms", "model settings")
_HEADERS: Final = (
    "[MMS Arguments], [Gunicorn Arguments], [Nginx Configurations], [MXNet Environment Variables] "
    "or [Model Settings]"
)
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_Line = tuple[int, str]


@dataclass(frozen=True)
class MmsConf:
    """The content of one ``mms.conf``.

    ``arguments`` maps a flag of ``[MMS Arguments]`` (with its dashes) to (value, line), without
    flags that are ``optional``. ``workers`` is None for ``optional``. ``nginx`` is the text of
    ``[Nginx Configurations]``, None without that section; ``nginx_lines`` are the numbers of its
    lines in the file. ``all_gpus`` is whether ``--num-gpu`` is ``optional``: all GPUs of the host
    are used. ``model_settings`` has the models that have a line in ``[Model Settings]``.
    """

    file: Path
    models: tuple[ModelSpec, ...]
    arguments: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    gunicorn: tuple[GunicornArg, ...] = ()
    bind: str | None = None
    workers: int | None = None
    nginx: str | None = None
    nginx_lines: tuple[int, ...] = ()
    all_gpus: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    model_settings: Mapping[str, ModelSettings] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def host(self) -> str:
        """Return the host name that the API description shows."""
        return self.arguments.get("--host", (DEFAULT_HOST, 0))[0]

    @property
    def port(self) -> int:
        """Return the port that the API description shows."""
        return int(self.arguments.get("--port", (str(DEFAULT_PORT), 0))[0])

    @property
    def metrics_write_to(self) -> str:
        """Return the destination of 0.4's metrics: log, csv or cloudwatch."""
        return self.arguments.get("--metrics-write-to", (mms_args.METRICS[0], 0))[0]


def read(file: Path) -> MmsConf:
    """Return the parsed file.

    Raises:
        ConfError: the file is missing, unreadable, too large, not UTF-8, or has an error.
        SilentFileSystemError: its file system does not answer.
    """
    try:
        data = with_io_timeout(lambda: read_whole(file, MAX_BYTES), file)
    except OSError as error:
        cause = f"cannot be read: {error.strerror}."
        raise ConfError(file, 0, cause, fix="give the path of an mms.conf.") from error
    except FileTooLargeError as error:
        fix = "give the path of an mms.conf."
        raise ConfError(file, 0, "is larger than 1 MiB.", fix=fix) from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfError(file, line, "is not UTF-8 text.", fix="save it as UTF-8.") from error
    return parse(text, file)


def parse(text: str, file: Path) -> MmsConf:
    """Return the parsed ``text``; ``file`` is its path, for messages.

    Raises:
        ConfError: names the line with the error; no text raises another error.
    """
    sections = _split(text, file)
    mms = mms_args.read_section(_significant(sections["mms"]), file)
    gunicorn = gunicorn_args.read_section(_significant(sections["gunicorn"]), file)
    edge = [row for row in sections["nginx"] if not _is_ignored(row[1].strip())]
    return MmsConf(
        file=file,
        models=mms.models,
        arguments=mms.arguments or {},
        gunicorn=gunicorn.arguments,
        bind=gunicorn.bind,
        workers=gunicorn.workers,
        nginx="".join(f"{line}\n" for _number, line in edge) or None,
        nginx_lines=tuple(number for number, _line in edge),
        all_gpus=mms.all_gpus,
        environment=_environment(_significant(sections["mxnet"]), file),
        model_settings=model_settings_section.read_section(
            _significant(sections["model settings"]), [spec.name for spec in mms.models], file
        ),
        warnings=mms.warnings + gunicorn.warnings,
    )


def _split(text: str, file: Path) -> dict[str, list[_Line]]:
    sections: dict[str, list[_Line]] = {name: [] for name in _SECTIONS}
    current: str | None = None
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip()
        if "\0" in raw:
            raise ConfError(file, number, "has a NUL byte.", fix="save it as plain text.")
        if re.match(r"\[[A-Za-z\s]", line):
            current = _section(line, number, file)
            if current == "nginx":
                # MXNet Model Server 0.4 emptied its file at each header: the last section counts.
                sections["nginx"].clear()
        elif current:
            sections[current].append((number, raw.rstrip()))
        elif not _is_ignored(line):
            cause = f"{line!r} is before the first section header."
            raise ConfError(file, number, cause, fix=f"begin with one of {_HEADERS}.")
    return sections


def _section(header: str, number: int, file: Path) -> str:
    for name in _SECTIONS:
        if name in header.lower():
            return name
    raise ConfError(file, number, f"unknown section header {header}.", fix=f"use {_HEADERS}.")


def _is_ignored(line: str) -> bool:
    return not line or line[0] in "#$"


def _significant(lines: Sequence[_Line]) -> list[_Line]:
    stripped = ((number, line.strip()) for number, line in lines)
    return [(number, line) for number, line in stripped if not _is_ignored(line)]


def _environment(lines: Sequence[_Line], file: Path) -> dict[str, str]:
    environment: dict[str, str] = {}
    for number, line in lines:
        for word in line.split():
            name, equals, value = word.partition("=")
            if not equals or not _VARIABLE.fullmatch(name):
                cause = f"{word!r} is not KEY=VALUE."
                fix = "write KEY=VALUE, several separated by blanks; a value has no blank."
                raise ConfError(file, number, cause, fix=fix)
            if gunicorn_args.RESERVED.fullmatch(name):
                fix = "remove it: systemd sets it for each release."
                raise ConfError(file, number, f"{name} cannot be set here.", fix=fix)
            environment[name] = value
    return environment
