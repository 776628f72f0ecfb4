"""Keep a release's server from loading its model, while its socket already takes requests.

Where memory does not allow two releases at a time, the new socket is opened before the old release
ends, so that requests wait in it. The first of them makes systemd start the service: it waits here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from mms_server.core.files import write_atomically
from mms_server.core.paths import Layout

_PAUSE_S: Final = 0.2


def place(layout: Layout, release: str, until_s: float) -> None:
    """Hold a release until it is lifted, or the host's uptime is ``until_s`` seconds."""
    write_atomically(layout.hold_file(release), f"{until_s:.1f}\n")


def lift(layout: Layout, release: str) -> None:
    """Hold a release no longer."""
    layout.hold_file(release).unlink(missing_ok=True)


def lift_all(layout: Layout) -> None:
    """Hold nothing: what a killed process has placed is of no use once a change is over."""
    for file in layout.instances.glob("*/hold"):
        file.unlink(missing_ok=True)


def wait(file: Path, uptime: Callable[[], float], sleep: Callable[[float], None]) -> None:
    """Return when nothing holds the release, at the latest at the time that the file says.

    Whoever placed it may have been killed: then the release loads by itself in the end.
    """
    while True:
        try:
            until_s = float(file.read_text("utf-8"))
        except (OSError, ValueError):
            return
        # (A NaN is not less than anything.)
        if not uptime() < until_s:
            return
        sleep(_PAUSE_S)
