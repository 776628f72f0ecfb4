"""The settings of the server on a host: one row each, from which everything else follows.

From a row follow its line in ``/etc/mms/mms.toml``, its line of ``mms settings`` and, by ``make
generate``, the variable ``mms_service_<name>`` of the role. A setting that changes an answer is
part of each release: it needs one more line, a field of the same name in
:class:`mms_server.host.release.Release`.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from mms_server.config.model_uri import BUCKETS
from mms_server.config.url_policy import parse_words
from mms_server.core import log_setup
from mms_server.core.errors import ConfError

FILE_NAME: Final = "mms.toml"

DERIVED: Final = -1
"""The value of ``worker_memory_max_bytes`` for a share of the release's memory limit."""

_MIB: Final = 1024 * 1024
_GIB: Final = 1024 * _MIB


def _row(default: Any, lowest: float, highest: float, unit: str, text: str) -> Any:
    row = {"lowest": lowest, "highest": highest, "unit": unit, "help": text}
    return field(default=default, metadata=row)


@dataclass(frozen=True)
class Settings:
    """The settings of all models of a host; ``mms.conf`` names the models."""

    workers: int = _row(
        0,
        0,
        1024,
        "processes",
        "Workers of a release if `--workers` of mms.conf is missing or `optional`; 0 means one per "
        "physical core.",
    )
    predict_timeout_s: float = _row(
        60.0, 0.1, 3600, "seconds", "Longest prediction; the client of a longer one gets 504."
    )
    watchdog_s: int = _row(
        30,
        5,
        3600,
        "seconds",
        "Longest time without a heartbeat of a server's main loop or of a worker's engine; then "
        "the process is replaced. For the engine, `--timeout` of mms.conf takes precedence.",
    )
    worker_memory_max_bytes: int = _row(
        DERIVED,
        DERIVED,
        1024 * _GIB,
        "bytes",
        "Private memory from which a worker is replaced after its request; 0 turns this off, -1 "
        "derives the value from the memory limit of the release.",
    )
    max_body_bytes: int = _row(
        64 * _MIB, 1024, 4 * _GIB, "bytes", "Largest body of a request; a larger one gets 413."
    )
    max_pixels: int = _row(
        64_000_000,
        1,
        1_000_000_000,
        "pixels",
        "Largest image, width times height; this is checked before the image is decoded.",
    )
    start_timeout_s: int = _row(
        300, 1, 7200, "seconds", "Longest start of a release: its load and its first forward."
    )
    stop_timeout_s: int = _row(
        90, 1, 7200, "seconds", "Longest stop of a release, in which it answers its last requests."
    )
    drain_timeout_s: int = _row(
        60, 1, 7200, "seconds", "Longest wait until the queue of a replaced release is empty."
    )
    probe_timeout_s: int = _row(
        30, 1, 3600, "seconds", "Longest wait for the first answer of a new release."
    )
    keep_generations: int = _row(
        5, 1, 100, "generations", "Generations whose releases stay on the disk of the host."
    )
    keep_warm_s: int = _row(
        300,
        0,
        86_400,
        "seconds",
        "How long a replaced release stays loaded, for an instant rollback; [Model Settings] of "
        "mms.conf can set it for one model.",
    )
    memory_reserve: int = _row(
        128 * _MIB, 0, 1024 * _GIB, "bytes", "Memory of the host that a change must leave free."
    )
    allow_gap: bool = _row(
        False,  # noqa: FBT003 - the default
        0,
        1,
        "yes or no",
        "Whether a release that does not fit into memory beside the old one may start after the "
        "old one has ended; requests wait meanwhile.",
    )
    max_archive_bytes: int = _row(
        16 * _GIB, 1024, 1024 * _GIB, "bytes", "Largest archive, packed or unpacked."
    )
    fetch_allow: str = _row(
        "public",
        0,
        4096,
        "words",
        (
            "Places that archives may be fetched from: `public` (any public address and "
            f"{' and '.join(scheme.title for scheme in BUCKETS.values())}), hosts with or without "
            "a port, `*.domain`, beginnings of URLs, "
            f"{', '.join(f'{scheme}://bucket/prefix' for scheme in BUCKETS)}; empty for none."
        ),
    )
    fetch_timeout_s: int = _row(
        3600, 1, 86400, "seconds", "Longest fetch of one archive, with all retries."
    )
    log_files_kept: int = _row(
        log_setup.DEFAULT_KEPT,
        1,
        10_000,
        "files",
        "Old files that are kept when `--log-file` is rotated.",
    )
    runtime: str = _row(
        "/opt/mms/current",
        1,
        4096,
        "path",
        "Virtual environment of new releases; a link is followed when a release is made.",
    )


def rows() -> Iterator[Field[Any]]:
    """Yield the table's rows; ``metadata`` holds lowest, highest, unit and help."""
    yield from fields(Settings)


def read(file: Path) -> Settings:
    """Return the settings in ``file``, the defaults if there is no such file.

    Raises:
        ConfError: the file cannot be read, is not TOML, or has an unknown key or a bad value.
    """
    try:
        text = file.read_text("utf-8")
    except FileNotFoundError:
        return Settings()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfError(file, 0, f"cannot be read: {error}.", fix="correct the file.") from error
    return parse(text, file)


def parse(text: str, file: Path) -> Settings:
    """Return the settings that ``text`` gives; others have their defaults.

    Raises:
        ConfError: as for :func:`read`, with the line if it is known.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfError(file, 0, f"is not TOML: {error}.", fix="correct the line.") from error
    known = {row.name: row for row in rows()}
    checked: dict[str, Any] = {}
    for name, value in values.items():
        line = _line_of(name, text)
        if name not in known:
            fix = f"use one of {', '.join(known)}."
            raise ConfError(file, line, f"{name} is not a setting.", fix=fix)
        checked[name] = _checked(known[name], value, file, line)
    return Settings(**checked)


def _line_of(name: str, text: str) -> int:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.split("=")[0].strip().strip("\"'[]") == name:
            return number
    return 0


def _checked(row: Field[Any], value: object, file: Path, line: int) -> Any:
    lowest, highest = row.metadata["lowest"], row.metadata["highest"]
    unit = row.metadata["unit"]
    kind = type(row.default)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        cause = f"{row.name} must be a {_word(kind)}, not {value!r}."
        raise ConfError(file, line, cause, fix=f"write it like the default, {_toml(row.default)}.")
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        _check_text(row, value, file, line)
        return value
    # A NaN is in no range.
    if not (isinstance(value, int | float) and lowest <= value <= highest):
        cause = f"{row.name} = {value} is out of range."
        raise ConfError(file, line, cause, fix=f"use {lowest} to {highest} {unit}.")
    return value


def _check_text(row: Field[Any], value: str, file: Path, line: int) -> None:
    if row.metadata["unit"] == "path":
        if not Path(value).is_absolute():
            fix = f"write a path like {row.default}."
            raise ConfError(file, line, f"{row.name} must be an absolute path.", fix=fix)
        return
    try:
        parse_words(value)
    except ValueError as error:
        fix = "write hosts, *.domain, beginnings of URLs, or `public`, separated by blanks."
        raise ConfError(file, line, f"{row.name}: {error}.", fix=fix) from error


def _word(kind: type) -> str:
    return {int: "whole number", float: "number", str: "string", bool: "truth value"}[kind]


def _toml(value: object) -> str:
    # A TOML basic string and a JSON string of printable text are the same.
    return json.dumps(value)


def as_toml(settings: Settings) -> str:
    """Return the settings as a commented ``mms.toml``."""
    lines = []
    for row in rows():
        meta = row.metadata
        about = f"# {meta['help']} Unit: {meta['unit']}. Default: {_toml(row.default)}."
        lines += [about, f"{row.name} = {_toml(getattr(settings, row.name))}", ""]
    return "\n".join(lines)


def as_markdown(settings: Settings) -> str:
    """Return the settings as a Markdown table."""
    lines = ["| name | value | default | unit | meaning |", "| --- | --- | --- | --- | --- |"]
    for row in rows():
        value, default = _toml(getattr(settings, row.name)), _toml(row.default)
        meta = row.metadata
        cells = (f"`{row.name}`", f"`{value}`", f"`{default}`", meta["unit"], meta["help"])
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
