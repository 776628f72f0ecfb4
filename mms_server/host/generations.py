"""Generations: the live releases of a host after each change, one file each.

The newest generation is the wanted state of the host.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mms_server.config.mms_args import METRICS
from mms_server.config.mms_conf import DEFAULT_HOST, DEFAULT_PORT
from mms_server.core.errors import MMSError
from mms_server.core.files import write_atomically
from mms_server.core.paths import Layout


@dataclass(frozen=True)
class Generation:
    """The state of a host after a change; ``models`` maps endpoint names to release ids.

    ``made_at`` is UTC in ISO 8601. ``by`` is the user who made the change. ``conf`` is the path of
    its ``mms.conf``. ``host`` and ``port`` are the address in the API description.
    ``metrics_write_to`` is the sink of 0.4's metrics. ``keep_warm_s`` are the seconds, by model,
    for which a replaced release stays loaded. ``restores`` is the number of the generation that a
    rollback restored; None for an apply.
    """

    number: int
    made_at: str
    by: str
    conf: str
    models: Mapping[str, str] = field(default_factory=dict)
    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    metrics_write_to: str = METRICS[0]
    keep_warm_s: Mapping[str, int] = field(default_factory=dict)
    restores: int | None = None

    @classmethod
    def from_json(cls, text: str, file: Path) -> Generation:
        """Return the generation in a text of :func:`write`.

        Raises:
            MMSError: the text is not a generation of this version.
        """
        try:
            data: dict[str, Any] = json.loads(text)
            return cls(**data)
        except (ValueError, TypeError) as error:
            raise MMSError(
                f"{file} is not a generation file: {error}.",
                fix="remove it and run `mms apply`: the releases are made again.",
            ) from error


def numbers(layout: Layout) -> list[int]:
    """Return the numbers of the kept generations, newest first."""
    try:
        names = [path.name for path in layout.generations.iterdir()]
    except FileNotFoundError:
        return []
    stems = (name.removesuffix(".json") for name in names if name.endswith(".json"))
    return sorted((int(stem) for stem in stems if stem.isdecimal()), reverse=True)


def file_of(layout: Layout, number: int) -> Path:
    """Return the file of a generation."""
    return layout.generations / f"{number}.json"


def load(layout: Layout, number: int) -> Generation:
    """Return one generation.

    Raises:
        MMSError: the file is not a generation.
        OSError: the file cannot be read.
    """
    file = file_of(layout, number)
    return Generation.from_json(file.read_text("utf-8"), file)


def readable(layout: Layout) -> list[Generation]:
    """Return the kept generations that can be read, newest first."""
    found = []
    for number in numbers(layout):
        try:
            found.append(load(layout, number))
        except (MMSError, OSError):
            continue
    return found


def newest(layout: Layout) -> Generation | None:
    """Return the newest generation; None if there is none.

    Raises:
        MMSError: the file is not a generation.
    """
    for number in numbers(layout):
        try:
            return load(layout, number)
        except FileNotFoundError:  # removed in between, with all older ones
            continue
    return None


def write(layout: Layout, generation: Generation) -> None:
    """Write a generation; after a power cut the file is complete or absent."""
    text = json.dumps(asdict(generation), sort_keys=True, indent=2) + "\n"
    write_atomically(file_of(layout, generation.number), text)


def remove(layout: Layout, number: int) -> None:
    """Remove a generation, if it exists."""
    file_of(layout, number).unlink(missing_ok=True)


def prune(layout: Layout, keep: int) -> None:
    """Remove all but the newest ``keep`` generations."""
    for number in numbers(layout)[keep:]:
        remove(layout, number)
