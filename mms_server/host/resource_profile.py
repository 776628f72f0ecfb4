"""The memory and the start time of a release: measured when it got ready, else estimated by a rule.

The figures of the rule are those of the reference engine on a CPU:

* 136 MB once the engine is imported;
* 3.5 times the archive once a network is loaded and has run: its parameters, the executor's copy of
  them, and its workspace;
* 50 MB for each forked worker, which it does not share with the master.

A worker on a GPU shares nothing. A start takes 5 s for the engine and 1 s for 100 MB of archive.

If a release replaces a measured one, its estimate has the same difference from the rule. So the
rule then gives only the effect of another archive or another number of workers.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from mms_server.core.files import write_atomically
from mms_server.host.release import Release

ENGINE_BYTES: Final = 136 * 10**6
WORKER_BYTES: Final = 50 * 10**6
ARCHIVE_FACTOR: Final = 3.5
ENGINE_S: Final = 5.0
LOAD_BYTES_PER_S: Final = 100 * 10**6


@dataclass(frozen=True)
class ResourceProfile:
    """Measurements of a release when it got ready.

    ``memory_bytes`` and ``peak_bytes`` are of its control group: the memory at that time, and the
    most until then. ``ready_s`` is the duration of the start.
    """

    memory_bytes: int
    peak_bytes: int
    ready_s: float


@dataclass(frozen=True)
class ResourceNeed:
    """The expected need of a release; ``peak_bytes`` is the memory while it starts."""

    memory_bytes: int
    peak_bytes: int
    ready_s: float
    measured: bool = False


def read(file: Path) -> ResourceProfile | None:
    """Return the measured profile of a release; None if the file is missing or invalid."""
    try:
        data: dict[str, Any] = json.loads(file.read_text("utf-8"))
        profile = ResourceProfile(
            int(data["memory_bytes"]), int(data["peak_bytes"]), float(data["ready_s"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        # The profile only improves a forecast: without it the rule is used.
        return None
    valid = 0 < profile.memory_bytes <= profile.peak_bytes and profile.ready_s >= 0
    return profile if valid else None


def write(file: Path, profile: ResourceProfile) -> None:
    """Write the measured profile of a release."""
    write_atomically(file, json.dumps(asdict(profile), sort_keys=True) + "\n")


@dataclass(frozen=True)
class MeasuredRelease:
    """A release with its measured profile, and the bytes of its unpacked archive."""

    release: Release
    archive_bytes: int
    profile: ResourceProfile


def estimate_need(
    release: Release,
    archive_bytes: int,
    profile: ResourceProfile | None,
    replaces: MeasuredRelease | None = None,
) -> ResourceNeed:
    """Return the expected need of a release whose unpacked archive has ``archive_bytes``.

    ``profile`` is its own measured profile, ``replaces`` the measured release that it replaces.
    """
    if profile is not None:
        return ResourceNeed(
            profile.memory_bytes, profile.peak_bytes, profile.ready_s, measured=True
        )
    memory, ready_s = _rule(release, archive_bytes)
    if replaces is None or replaces.release.on_gpu != release.on_gpu:
        return ResourceNeed(memory, memory, ready_s)
    old_memory, old_ready_s = _rule(replaces.release, replaces.archive_bytes)
    old = replaces.profile
    return ResourceNeed(
        max(archive_bytes, memory - old_memory + old.memory_bytes),
        max(archive_bytes, memory - old_memory + old.peak_bytes),
        max(0.0, ready_s - old_ready_s + old.ready_s),
    )


def _rule(release: Release, archive_bytes: int) -> tuple[int, float]:
    """Return memory in bytes and start time in seconds, by the rule in the module's docstring."""
    model = round(ARCHIVE_FACTOR * archive_bytes)
    if release.on_gpu:
        memory = (1 + release.workers) * ENGINE_BYTES + release.workers * model
    else:
        memory = ENGINE_BYTES + model + release.workers * WORKER_BYTES
    return memory, ENGINE_S + archive_bytes / LOAD_BYTES_PER_S
