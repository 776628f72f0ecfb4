"""The start barrier: a release's server does not load its model, but its socket takes requests.

If memory does not suffice for two releases, the new socket is opened before the old release ends,
and requests wait in its backlog. The first request makes systemd start the service. The service
waits at this barrier until the old release has ended.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from mms_server.core.files import write_atomically
from mms_server.core.paths import Layout

_POLL_S: Final = 0.2


def place(layout: Layout, release: str, until_s: float) -> None:
    """Place a release's barrier until :func:`lift`, or until the host's uptime is ``until_s``."""
    write_atomically(layout.hold_file(release), f"{until_s:.1f}\n")


def lift(layout: Layout, release: str) -> None:
    """Lift the barrier of a release."""
    layout.hold_file(release).unlink(missing_ok=True)


def lift_all(layout: Layout) -> None:
    """Lift all barriers: those that a killed process has placed have no use after the change."""
    for file in layout.instances.glob("*/hold"):
        file.unlink(missing_ok=True)


def wait(file: Path, uptime: Callable[[], float], sleep: Callable[[float], None]) -> None:
    """Return when the barrier ``file`` is lifted, at the latest at the uptime in the file.

    The process that placed it may have been killed: then the release loads after that time.
    """
    while True:
        try:
            until_s = float(file.read_text("utf-8"))
        except (OSError, ValueError):
            return
        # Not `>=`: a NaN in the file must end the wait.
        if not uptime() < until_s:
            return
        sleep(_POLL_S)
