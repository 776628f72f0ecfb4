"""Generations: what a host served and when, one file per change; the newest is what is wanted."""

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
    """One state of a host: endpoint name -> release id.

    ``made_at`` is UTC in ISO 8601, ``conf`` the path of the ``mms.conf`` it came from; ``host``
    and ``port`` are what the API description shows; ``metrics_write_to`` is where 0.4's metrics go.
    ``keep_warm_s`` is, by model, how long a release that is replaced stays loaded. ``restores`` is
    the number of the generation that this one went back to, None if it came from the file.
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
        """Return the generation that :func:`write` wrote.

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
    """Return the numbers of the generations that are kept, newest first."""
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
        MMSError: its file is not one.
        OSError: its file cannot be read.
    """
    file = file_of(layout, number)
    return Generation.from_json(file.read_text("utf-8"), file)


def readable(layout: Layout) -> list[Generation]:
    """Return the generations that are kept and can be read, newest first."""
    found = []
    for number in numbers(layout):
        try:
            found.append(load(layout, number))
        except (MMSError, OSError):
            continue
    return found


def newest(layout: Layout) -> Generation | None:
    """Return the newest generation, None on a host that never had one.

    Raises:
        MMSError: its file is not one.
    """
    for number in numbers(layout):
        try:
            return load(layout, number)
        except FileNotFoundError:  # removed meanwhile: an older one will not be there either
            continue
    return None


def write(layout: Layout, generation: Generation) -> None:
    """Write a generation so that a power cut leaves it whole or absent."""
    text = json.dumps(asdict(generation), sort_keys=True, indent=2) + "\n"
    write_atomically(file_of(layout, generation.number), text)


def remove(layout: Layout, number: int) -> None:
    """Remove a generation, if it is there."""
    file_of(layout, number).unlink(missing_ok=True)


def prune(layout: Layout, keep: int) -> None:
    """Remove all but the newest ``keep`` generations."""
    for number in numbers(layout)[keep:]:
        remove(layout, number)
