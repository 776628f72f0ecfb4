"""Let a change of the host yield to what serves: its process gets a control group of little weight.

A login's processes have half of a busy processor beside all services together, whatever the weights
of those: control groups share it level by level (systemd.resource-control(5), ``CPUWeight=``). So a
command that unpacks, loads and waits moves beside the services, into a transient scope.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from mms_server import commands

WEIGHT: Final = 10
"""Of the processor, beside 100 of a unit that says nothing."""

_TIMEOUT_S: Final = 10.0
_MANAGER: Final = (
    "org.freedesktop.systemd1",
    "/org/freedesktop/systemd1",
    "org.freedesktop.systemd1.Manager",
)
_BOOTED: Final = Path("/run/systemd/system")

Run = Callable[[Sequence[str], float], subprocess.CompletedProcess[str]]


def needed(environ: Mapping[str, str], uid: int, booted: Path = _BOOTED) -> bool:
    """Return whether this process is root's, on a host of systemd's, and no unit.

    A unit has a weight of its own, and ``INVOCATION_ID`` in its environment (systemd.exec(5)).
    """
    return uid == 0 and "INVOCATION_ID" not in environ and booted.is_dir()


def enter(word: str, pid: int, run: Run = commands.run) -> bool:
    """Move process ``pid``, with what it will start, into a scope named by ``word``.

    Returns whether that was done. If not, the change goes on at its old weight.
    """
    properties = {
        "Description": ("s", f"mms {word}"),
        "Slice": ("s", "system.slice"),
        "CollectMode": ("s", "inactive-or-failed"),
        "CPUWeight": ("t", str(WEIGHT)),
        "PIDs": ("au", "1", str(pid)),
    }
    command = ["busctl", "call", "--quiet", *_MANAGER, "StartTransientUnit", "ssa(sv)a(sa(sv))"]
    command += [f"mms-{word}-{pid}.scope", "fail", str(len(properties))]
    for name, value in properties.items():
        command += [name, *value]
    try:
        return run([*command, "0"], _TIMEOUT_S).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def yield_processor(word: str) -> None:
    """Let this process, about to carry out ``word``, yield the processor to what serves."""
    if needed(os.environ, os.geteuid()):
        enter(word, os.getpid())
