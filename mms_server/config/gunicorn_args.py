"""``[Gunicorn Arguments]`` of ``mms.conf``, parsed with gunicorn's own table of options.

MXNet Model Server 0.4 joined the lines of the section with blanks and put them on gunicorn's
command line. So each option of gunicorn is allowed, its value is on the next line or on the same
line, and no value can contain a blank (compatibility.md, 3.5).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gunicorn.config import KNOWN_SETTINGS, Config

from mms_server.config import mms_args
from mms_server.core.errors import ConfError

# systemd sets these variables for the worker; a release cannot start if they are wrong.
RESERVED: Final = re.compile(r"LISTEN_.*|NOTIFY_SOCKET|WATCHDOG_.*|GUNICORN_CMD_ARGS")

_SWITCHES: Final = ("store_true", "store_const")

_REFUSED: Final = {
    "config": "remove it: options stand here, one by one.",
    "paste": "remove it: a release serves models, not a Paste application.",
    "raw_paste_global_conf": "remove it: a release serves models, not a Paste application.",
    "check_config": "remove it and run `mms validate`.",
    "print_config": "remove it and run `mms validate --json`.",
    "certfile": "let nginx speak TLS: put `listen 443 ssl` into [Nginx Configurations].",
    "keyfile": "let nginx speak TLS: put `listen 443 ssl` into [Nginx Configurations].",
}
"""Options that are refused -> what to do instead."""

_WITHOUT_EFFECT: Final = {
    "daemon": "systemd runs the server",
    "pidfile": "systemd tracks the process",
    "user": "systemd sets the user",
    "group": "systemd sets the group",
    "initgroups": "systemd sets the groups",
    "chdir": "a release has its own directory",
    "reload": "a change of the archive makes a new release",
    "reload_engine": "a change of the archive makes a new release",
    "reload_extra_files": "a change of the archive makes a new release",
    "preload_app": "a model is always loaded before the workers are made",
    "backlog": "the socket belongs to systemd",
    "reuse_port": "the socket belongs to systemd",
    "control_socket": "systemd controls the server",
    "control_socket_mode": "systemd controls the server",
    "control_socket_disable": "systemd controls the server",
}
"""Options that are accepted and have no effect -> the reason."""

_BIND: Final = re.compile(
    r"unix:/[A-Za-z0-9._/-]+|[A-Za-z0-9.-]*:\d{1,5}|\[[0-9A-Fa-f:]+\]:\d{1,5}"
)
_LAST_PORT: Final = 65535


@dataclass(frozen=True)
class GunicornArg:
    """One option for gunicorn: gunicorn's name of the setting, and the text of the file."""

    setting: str
    flag: str
    value: str | None
    line: int

    def argv(self) -> tuple[str, ...]:
        """Return the words for gunicorn's command line."""
        return (self.flag,) if self.value is None else (self.flag, self.value)


@dataclass(frozen=True)
class GunicornSection:
    """The parsed section; ``bind`` and ``workers`` are not among the ``arguments`` for gunicorn."""

    arguments: tuple[GunicornArg, ...] = ()
    bind: str | None = None
    workers: int | None = None
    warnings: tuple[str, ...] = ()


def read_section(lines: Iterable[tuple[int, str]], file: Path) -> GunicornSection:
    """Return the parsed section; ``lines`` are its significant lines with their numbers.

    Raises:
        ConfError: an option is unknown, refused, without a value or with an invalid value.
    """
    passed: list[GunicornArg] = []
    warnings: list[str] = []
    bind: str | None = None
    workers: int | None = None
    for argument in _options(lines, file):
        if argument.setting == "bind":
            bind = _checked_bind(argument, file)
        elif argument.setting == "workers":
            workers = _checked_workers(argument, file)
        elif argument.setting == "worker_class":
            _check_worker_class(argument, file)
        elif reason := _WITHOUT_EFFECT.get(argument.setting):
            warnings.append(f"{file}:{argument.line}: {argument.flag} has no effect: {reason}.")
        else:
            passed.append(_checked(argument, file))
    return GunicornSection(tuple(passed), bind, workers, tuple(warnings))


def _options(lines: Iterable[tuple[int, str]], file: Path) -> Iterator[GunicornArg]:
    words = [(number, word) for number, line in lines for word in line.split()]
    position = 0
    while position < len(words):
        number, word = words[position]
        position += 1
        flag, equals, attached = _parts(word)
        setting, flag = _find(flag, number, file)
        if setting.name in _REFUSED:
            cause = f"{flag} cannot be used in [Gunicorn Arguments]."
            raise ConfError(file, number, cause, fix=_REFUSED[setting.name])
        following = words[position][1] if position < len(words) else None
        value: str | None = None
        if setting.action in _SWITCHES:
            if equals:
                raise ConfError(file, number, f"{flag} is a switch.", fix=f"write `{flag}` alone.")
        elif equals:
            value = attached
        elif following is not None and not _is_flag(following):
            value = following
            position += 1
        elif setting.nargs != "?":
            cause = f"{flag} has no value."
            raise ConfError(file, number, cause, fix="put the value on the next line.")
        yield GunicornArg(setting.name, flag, value, number)


def _parts(word: str) -> tuple[str, str, str]:
    """Return the flag, a text that is not empty if a value is attached, and the attached value.

    Values are attached as in ``-w4`` or ``-w=4``.
    """
    if re.match(r"-[A-Za-z][^=]", word):
        return word[:2], word[2:], word[2:]
    return word.partition("=")


def _is_flag(word: str) -> bool:
    return re.match(r"--?[A-Za-z]", word) is not None


def _find(flag: str, line: int, file: Path) -> tuple[Any, str]:
    """Return gunicorn's setting of a flag, and the full flag; a unique beginning is enough."""
    if not _is_flag(flag):
        cause = f"{flag!r} is a value without an option in front of it."
        fix = "write one value for each option; a value cannot contain a blank."
        raise ConfError(file, line, cause, fix=fix)
    known = {name: setting for setting in KNOWN_SETTINGS for name in setting.cli or ()}
    if flag in known:
        return known[flag], flag
    longer = [name for name in known if flag.startswith("--") and name.startswith(flag)]
    if len(longer) == 1:
        return known[longer[0]], longer[0]
    cause = f"{flag} is not an option of gunicorn."
    if longer:
        cause = f"{flag} may be {', '.join(sorted(longer))}."
    fix = "see `gunicorn --help` for the options."
    if flag in mms_args.FLAGS:
        fix = f"move {flag} and its value to [MMS Arguments]."
    raise ConfError(file, line, cause, fix=fix)


def _checked(argument: GunicornArg, file: Path) -> GunicornArg:
    """Return the argument if it passes gunicorn's own check of its value."""
    setting = Config().settings[argument.setting]
    if argument.value is None:
        return argument
    if argument.setting == "raw_env":
        _check_variable(argument, file)
    try:
        value = setting.type(argument.value) if setting.type else argument.value
        setting.set([value] if setting.action == "append" else value)
    except Exception as error:
        cause = f"{argument.flag} {argument.value}: {error}"
        fix = "correct the value, or remove the option to have gunicorn's default."
        if argument.value.lower() == "optional":
            fix = "remove the option; only --workers can be `optional`."
        raise ConfError(file, argument.line, cause.rstrip(".") + ".", fix=fix) from error
    return argument


def _check_variable(argument: GunicornArg, file: Path) -> None:
    name, equals, _value = (argument.value or "").partition("=")
    if not equals:
        cause = f"{argument.flag} {argument.value} is not KEY=VALUE."
        raise ConfError(file, argument.line, cause, fix="write KEY=VALUE without blanks.")
    if RESERVED.fullmatch(name):
        fix = "remove it: systemd sets it for each release."
        raise ConfError(file, argument.line, f"{name} cannot be set here.", fix=fix)


def _checked_bind(argument: GunicornArg, file: Path) -> str:
    value = argument.value or ""
    port = value.rpartition(":")[2]
    matches = _BIND.fullmatch(value) is not None
    if matches and (value.startswith("unix:") or 0 < int(port) <= _LAST_PORT):
        return value
    cause = f"--bind {value} is not an address."
    fix = "write unix:/path/of/a.sock (letters, digits and ._- only) or HOST:PORT."
    raise ConfError(file, argument.line, cause, fix=fix)


def _checked_workers(argument: GunicornArg, file: Path) -> int | None:
    value = argument.value or ""
    if value.lower() == "optional":
        return None
    if re.fullmatch(r"[0-9]{1,4}", value) and int(value) > 0:
        return int(value)
    cause = f"--workers {value} is not a number of workers."
    fix = "write a number from 1 to 9999, or `optional` for one per physical core."
    raise ConfError(file, argument.line, cause, fix=fix)


def _check_worker_class(argument: GunicornArg, file: Path) -> None:
    if argument.value != "gevent":
        cause = f"--worker-class {argument.value} is not supported."
        raise ConfError(file, argument.line, cause, fix="write `gevent`, or remove the option.")
