"""``[MMS Arguments]`` of ``mms.conf``: the flags of the standalone server (compatibility.md, 6).

Each flag is on a line of its own, and its value is on the next line (compatibility.md, 3.3).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mms_server.core import log_setup
from mms_server.core.errors import ConfError

MODEL_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

METRICS_SINKS: Final[Mapping[str, str]] = {
    "log": "log",
    "csv": "metrics/*.csv",
    "cloudwatch": "CloudWatch",
}
"""Value of ``--metrics-write-to`` -> the place where the sink writes, for texts."""

METRICS: Final = tuple(METRICS_SINKS)
"""The destinations of 0.4's metrics; the first is the default."""

_LAST_PORT: Final = 65535


@dataclass(frozen=True)
class ModelSpec:
    """One ``name=location`` pair and the number of its line."""

    name: str
    location: str
    line: int


@dataclass(frozen=True)
class _Flag:
    valid: Callable[[str], bool]
    expected: str
    without_effect: str = ""


def _is_port(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,5}", text) is not None and 0 < int(text) <= _LAST_PORT


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,3}", text) is not None


def _is_gpu_count(text: str) -> bool:
    return _is_number(text) and int(text) > 0


def _is_host(text: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9._:\[\]-]+", text) is not None


def _is_rotation(text: str) -> bool:
    try:
        log_setup.parse_rotation(text)
    except log_setup.LogError:
        return False
    return True


FLAGS: Final[Mapping[str, _Flag]] = {
    "--models": _Flag(bool, "a list of name=location pairs"),
    "--service": _Flag(lambda text: text.endswith(".py"), "the path of a Python file"),
    "--gen-api": _Flag(bool, "a language", "clients are not generated on a host"),
    "--port": _Flag(_is_port, "a port, 1 to 65535"),
    "--host": _Flag(_is_host, "a host name or address"),
    "--gpu": _Flag(_is_number, "the number of a GPU"),
    "--num-gpu": _Flag(_is_gpu_count, "a number of GPUs, 1 to 999"),
    "--log-file": _Flag(bool, "a path"),
    "--log-rotation-time": _Flag(
        _is_rotation, 'a time like "1 H": a number and one of S M H D W0 to W6 midnight'
    ),
    "--log-level": _Flag(
        lambda text: text.upper() in log_setup.LEVELS, f"one of {', '.join(log_setup.LEVELS)}"
    ),
    "--metrics-write-to": _Flag(lambda text: text in METRICS, f"one of {', '.join(METRICS)}"),
}
"""The flags by name, with the values that each accepts."""


@dataclass(frozen=True)
class MmsSection:
    """The parsed section: flag (with its dashes) -> (value, line of the value).

    ``all_gpus`` is whether ``--num-gpu`` is ``optional``.
    """

    models: tuple[ModelSpec, ...] = ()
    arguments: Mapping[str, tuple[str, int]] | None = None
    warnings: tuple[str, ...] = ()
    all_gpus: bool = False


def read_section(lines: Iterable[tuple[int, str]], file: Path) -> MmsSection:
    """Return the parsed section; ``lines`` are its significant lines with their numbers.

    Raises:
        ConfError: a flag is unknown or has no value, or a value or a model is invalid.
    """
    arguments: dict[str, tuple[str, int]] = {}
    warnings: list[str] = []
    optional: set[str] = set()
    for flag, value, number in _pairs(lines, file):
        row = FLAGS[flag]
        if value.lower() == "optional":
            optional.add(flag)
            continue
        if not row.valid(value):
            cause = f"{flag} {value} is not {row.expected}."
            raise ConfError(file, number, cause, fix="correct it, or write `optional`.")
        if row.without_effect:
            warnings.append(f"{file}:{number}: {flag} has no effect: {row.without_effect}.")
        if flag in arguments:
            warnings.append(f"{file}:{number}: {flag} is given twice; this value counts.")
        arguments[flag] = (value, number)
    if "--gpu" in arguments and "--num-gpu" in arguments:
        _device, number = arguments["--gpu"]
        warnings.append(f"{file}:{number}: --gpu names the one GPU to use; --num-gpu is not read.")
    models, line = arguments.pop("--models", ("", 0))
    all_gpus = "--num-gpu" in optional and not arguments.keys() & {"--gpu", "--num-gpu"}
    return MmsSection(_models(models, line, file), arguments, tuple(warnings), all_gpus)


def _pairs(lines: Iterable[tuple[int, str]], file: Path) -> Iterator[tuple[str, str, int]]:
    waiting: tuple[str, int] | None = None
    for number, line in lines:
        if line.startswith("--"):
            if waiting:
                raise _no_value(waiting, file)
            waiting = (_flag(line, number, file), number)
        elif waiting:
            yield waiting[0], line, number
            waiting = None
        else:
            cause = f"{line!r} is a value without a flag in front of it."
            fix = (
                "write one line of value for each flag; all models are on the line after --models."
            )
            raise ConfError(file, number, cause, fix=fix)
    if waiting:
        raise _no_value(waiting, file)


def _no_value(waiting: tuple[str, int], file: Path) -> ConfError:
    fix = "put the value on the next line, `optional` to leave it out."
    return ConfError(file, waiting[1], f"{waiting[0]} has no value.", fix=fix)


def _flag(line: str, number: int, file: Path) -> str:
    """Return the full name of a flag; as on a command line, a unique beginning is enough."""
    longer = [name for name in FLAGS if name.startswith(line)]
    if line in FLAGS:
        return line
    if len(longer) == 1 and line != "--":
        return longer[0]
    word = re.split(r"[\s=]", line)[0]
    if word != line and word in {*FLAGS, "--model"}:
        fix = f"put `{word}` on one line and its value on the next."
        raise ConfError(file, number, f"{word} and its value are on one line.", fix=fix)
    fix = f"use one of {', '.join(FLAGS)}."
    raise ConfError(file, number, f"{word} is not a flag of [MMS Arguments].", fix=fix)


def _models(text: str, line: int, file: Path) -> tuple[ModelSpec, ...]:
    models: dict[str, ModelSpec] = {}
    for pair in text.split():
        spec = _model(pair, line, file)
        if spec.name in models:
            cause = f"model {spec.name} is given twice."
            raise ConfError(file, line, cause, fix="give each model a name of its own.")
        models[spec.name] = spec
    if not models:
        fix = "write --models in [MMS Arguments] and name=location pairs on the next line."
        raise ConfError(file, line, "no models are given.", fix=fix)
    return tuple(models.values())


def _model(pair: str, line: int, file: Path) -> ModelSpec:
    name, equals, location = pair.partition("=")
    if not equals or not location:
        cause = f"{pair!r} is not a name=location pair."
        raise ConfError(file, line, cause, fix="write <model-name>=<path of the archive>.")
    if not MODEL_NAME.fullmatch(name):
        cause = f"{name!r} cannot be a model's name."
        fix = "use up to 64 letters, digits and ._- and begin with a letter or digit."
        raise ConfError(file, line, cause, fix=fix)
    return ModelSpec(name, location, line)
