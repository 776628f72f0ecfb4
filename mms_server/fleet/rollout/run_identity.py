"""Which run this is: who started it, where, in which process; and whether another still runs."""

from __future__ import annotations

import getpass
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_PLAYBOOK: Final = b"ansible-playbook"
_START_FIELD: Final = 19
"""Of what follows the name in /proc/PID/stat, counted from 0: when the process began."""


@dataclass(frozen=True)
class Run:
    """``process`` is `PID:START:NAMESPACE`, so that a number that was given anew is told apart."""

    run: str
    owner: str
    controller: str
    process: str


def this_run(proc: Path = _PROC, pid: int | None = None) -> Run:
    """Return the run that this process belongs to: that of the outermost ansible-playbook."""
    found = current = os.getpid() if pid is None else pid
    while current > 1:
        if _PLAYBOOK in _command(proc, current):
            found = current
        current = _parent(proc, current)
    controller = socket.gethostname()
    process = f"{found}:{_start(proc, found)}:{_namespace(proc)}"
    return Run(f"{controller}:{process}", _owner(), controller, process)


def is_gone(controller: str, process: str, proc: Path = _PROC) -> bool:
    """Return whether a run is known to have ended; False if that cannot be known from here."""
    pid, _, rest = process.partition(":")
    start, _, namespace = rest.partition(":")
    known = controller == socket.gethostname() and namespace == _namespace(proc)
    return known and pid.isdecimal() and _start(proc, int(pid)) != start


def _owner() -> str:
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _command(proc: Path, pid: int) -> bytes:
    try:
        return (proc / str(pid) / "cmdline").read_bytes()
    except OSError:
        return b""


def _fields(proc: Path, pid: int) -> list[str]:
    try:
        text = (proc / str(pid) / "stat").read_text("utf-8", errors="replace")
    except OSError:
        return []
    # The name stands in parentheses and may hold anything, also a parenthesis.
    return text.rpartition(")")[2].split()


def _parent(proc: Path, pid: int) -> int:
    fields = _fields(proc, pid)
    return int(fields[1]) if len(fields) > 1 else 0


def _start(proc: Path, pid: int) -> str:
    fields = _fields(proc, pid)
    return fields[_START_FIELD] if len(fields) > _START_FIELD else ""


def _namespace(proc: Path) -> str:
    try:
        return str((proc / "self" / "ns" / "pid").readlink())
    except OSError:
        return "unknown"
