"""A systemd scope of low CPU weight for a command that changes a host.

Serving processes get CPU time before the processes in this scope.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mms_server.core import process

_TIMEOUT_S: Final = 10.0
CPU_WEIGHT: Final = 10
"""The CPU weight of a change and of a loading release; a unit without a setting has 100."""

_COMMAND: Final = (
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
    """Move this process into a scope of low CPU weight; return the cause of a failure, else "".

    Outside of such a scope, a command of a login session gets as much CPU time as all services of
    the host together: the slices of both have the same weight. Nothing is done in a process that
    systemd has started (its unit sets the weight), without systemd, or without root's rights.
    """
    if os.geteuid() or "INVOCATION_ID" in environ or not booted.is_dir():
        return ""
    pid = os.getpid() if pid is None else pid
    properties = ["PIDs", "au", "1", str(pid), "Slice", "s", "system.slice"]
    properties += ["CPUWeight", "t", str(CPU_WEIGHT), "CollectMode", "s", "inactive-or-failed"]
    arguments = [f"mms-change-{pid}.scope", "fail", "4", *properties, "0"]
    try:
        done = process.run([*_COMMAND, *arguments], _TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"this command runs with normal CPU weight: {error}"
    if done.returncode:
        return f"this command runs with normal CPU weight: {' '.join(done.stderr.split())}"
    return ""
