"""Let a process that changes a host take the processor only where what serves leaves it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mms_server.core import process

_TIMEOUT_S: Final = 10.0
WEIGHT: Final = 10
"""Of the processor, beside 100 of a unit that says nothing; a release that loads has it too."""

_CALL: Final = (
    "busctl",
    "--quiet",
    "call",
    "org.freedesktop.systemd1",
    "/org/freedesktop/systemd1",
    "org.freedesktop.systemd1.Manager",
    "StartTransientUnit",
    "ssa(sv)a(sa(sv))",
)


def enter_background_scope(
    environ: Mapping[str, str] = os.environ,
    pid: int | None = None,
    booted: Path = Path("/run/systemd/system"),
) -> str:
    """Move this process into a scope of little weight; return why it could not be, "" if it was.

    Without one, a command of a login session has as much of the processor as all services of the
    host together: the slices of both weigh the same. What systemd runs has its weight from its
    unit, and where no systemd runs, or for want of rights, nothing is done.
    """
    if os.geteuid() or "INVOCATION_ID" in environ or not booted.is_dir():
        return ""
    pid = os.getpid() if pid is None else pid
    properties = ["PIDs", "au", "1", str(pid), "Slice", "s", "system.slice"]
    properties += ["CPUWeight", "t", str(WEIGHT), "CollectMode", "s", "inactive-or-failed"]
    words = [f"mms-change-{pid}.scope", "fail", "4", *properties, "0"]
    try:
        done = process.run([*_CALL, *words], _TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"it keeps its share of the processor: {error}"
    if done.returncode:
        return f"it keeps its share of the processor: {' '.join(done.stderr.split())}"
    return ""
