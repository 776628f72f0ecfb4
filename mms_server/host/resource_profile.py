"""What a release needs: measured when it got ready, else worked out by a rule.

The rule's figures are those of the reference engine on a CPU: 136 MB once it is imported, three and
a half times the archive once a network is loaded and has run (its parameters, the copy that the
executor holds, and its workspace), 50 MB that each forked worker does not share with the master. A
worker on a GPU shares nothing. A start takes 5 s for the engine and 1 s for 100 MB of archive.

A release that replaces one that was measured is expected to be off the rule by as much as that one:
the rule then only says what another archive or another number of workers changes.
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
    """A release that got ready: bytes of its control group, then and at most, and seconds to it."""

    memory_bytes: int
    peak_bytes: int
    ready_s: float


@dataclass(frozen=True)
class ResourceNeed:
    """What a release is expected to need; ``peak_bytes`` while it starts."""

    memory_bytes: int
    peak_bytes: int
    ready_s: float
    measured: bool = False


def read(file: Path) -> ResourceProfile | None:
    """Return what was measured, None if it is not known."""
    try:
        data: dict[str, Any] = json.loads(file.read_text("utf-8"))
        found = ResourceProfile(
            int(data["memory_bytes"]), int(data["peak_bytes"]), float(data["ready_s"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        # It only makes a forecast better: whatever is wrong with it, the rule stands in.
        return None
    sound = found.memory_bytes > 0 and found.peak_bytes >= found.memory_bytes and found.ready_s >= 0
    return found if sound else None


def write(file: Path, measured: ResourceProfile) -> None:
    """Keep what was measured, beside the release that it is of."""
    write_atomically(file, json.dumps(asdict(measured), sort_keys=True) + "\n")


@dataclass(frozen=True)
class ProfileCache:
    """A release that was measured, and the bytes of its unpacked archive."""

    release: Release
    archive_bytes: int
    measured: ResourceProfile


def need(
    release: Release,
    archive_bytes: int,
    measured: ResourceProfile | None,
    replaces: ProfileCache | None = None,
) -> ResourceNeed:
    """Return what a release needs whose unpacked archive has so many bytes."""
    if measured is not None:
        return ResourceNeed(
            measured.memory_bytes, measured.peak_bytes, measured.ready_s, measured=True
        )
    memory, ready_s = _by_rule(release, archive_bytes)
    if replaces is None or replaces.release.on_gpu != release.on_gpu:
        return ResourceNeed(memory, memory, ready_s)
    old, old_s = _by_rule(replaces.release, replaces.archive_bytes)
    seen = replaces.measured
    return ResourceNeed(
        max(archive_bytes, memory - old + seen.memory_bytes),
        max(archive_bytes, memory - old + seen.peak_bytes),
        max(0.0, ready_s - old_s + seen.ready_s),
    )


def _by_rule(release: Release, archive_bytes: int) -> tuple[int, float]:
    model = round(ARCHIVE_FACTOR * archive_bytes)
    if release.on_gpu:
        memory = (1 + release.workers) * ENGINE_BYTES + release.workers * model
    else:
        memory = ENGINE_BYTES + model + release.workers * WORKER_BYTES
    return memory, ENGINE_S + archive_bytes / LOAD_BYTES_PER_S
