"""Warm releases: replaced releases that stay loaded for a time, so that a rollback is instant.

A file per release has the end of that time, in seconds of the host's uptime. A reboot removes the
file, as it ends the process. A jump of the clock has no effect.
"""

from __future__ import annotations

import math

from mms_server.core.files import write_atomically
from mms_server.core.paths import Layout


def read(layout: Layout) -> dict[str, float]:
    """Return the host's uptime, in seconds, until which each release stays; 0 for a bad file."""
    if not layout.warm.is_dir():
        return {}
    return {
        path.name: _seconds(path.read_text("utf-8", errors="replace"))
        for path in layout.warm.iterdir()
        if not path.name.startswith(".")
    }


def keep(layout: Layout, release: str, until_s: float) -> None:
    """Record that a release stays loaded until the host's uptime is ``until_s`` seconds."""
    write_atomically(layout.warm / release, f"{until_s:.1f}\n")


def forget(layout: Layout, release: str) -> None:
    """Remove the record of a release, because it serves again or has ended."""
    (layout.warm / release).unlink(missing_ok=True)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if math.isfinite(value) else 0.0
