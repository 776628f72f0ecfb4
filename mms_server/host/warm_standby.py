"""Replaced releases that stay loaded for a while, so that going back to them is instant.

A file for each says until when, in seconds of the host's uptime: it is gone after a reboot, as the
process is, and a clock that jumps changes nothing.
"""

from __future__ import annotations

import math

from mms_server.core.files import write_atomically
from mms_server.core.paths import Layout


def read(layout: Layout) -> dict[str, float]:
    """Return release id -> uptime in seconds at which it ends; a damaged file has none left."""
    if not layout.warm.is_dir():
        return {}
    return {
        path.name: _seconds(path.read_text("utf-8", errors="replace"))
        for path in layout.warm.iterdir()
        if not path.name.startswith(".")
    }


def keep(layout: Layout, release: str, until_s: float) -> None:
    """Note that a release stays loaded until the host's uptime is ``until_s``."""
    write_atomically(layout.warm / release, f"{until_s:.1f}\n")


def forget(layout: Layout, release: str) -> None:
    """Note that a release is not kept any more, because it serves again or has ended."""
    (layout.warm / release).unlink(missing_ok=True)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if math.isfinite(value) else 0.0
