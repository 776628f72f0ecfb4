"""Run code from elsewhere apart from the machine: by systemd, by bubblewrap, or not at all.

systemd gives what a release on a host has: the same protections, from the same file. It needs root,
and places that everybody may read. bubblewrap needs neither, and gives a file system that holds
only what is listed, no network, and processes of its own.
"""

from __future__ import annotations

import functools
import os
import re
import secrets
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

from mms_server.core import process
from mms_server.host.unit_dropin import is_plain

UNCONFINED: Final = (
    "warning: the model's code runs with all rights of this user. Fix: install bubblewrap, or run "
    "this as root on a machine with systemd, with files that everybody may read.\n"
)
_PASSED_ON: Final = re.compile(r"PATH|PYTHONPATH|LANG|LC_ALL|TZ|LD_LIBRARY_PATH|(MXNET|OMP)_\w+")
_SEARCHED: Final = ("PYTHONPATH", "LD_LIBRARY_PATH")
_BINDS: Final = "BindReadOnlyPaths="
_LIMITS: Final = ("MemoryMax=80%", "TasksMax=512", "TimeoutStopSec=1")
_TIMEOUT_S: Final = 20.0


@dataclass(frozen=True)
class Task:
    """A command, its environment, and its places: it can write to the last one only."""

    command: Sequence[str]
    environ: Mapping[str, str]
    readable: Sequence[Path] = ()
    writable: Path | None = None


@contextmanager
def confined(task: Task, timeout_s: float) -> Iterator[Task]:
    """Yield the command that runs a task with as few rights as this machine can give it.

    When the context ends, nothing is left of what systemd has run.
    """
    bubblewrap = shutil.which("bwrap")
    if _systemd_can(task):
        with _unit() as (name, root):
            yield Task(_by_systemd(task, name, root, timeout_s), _environ(task))
    elif bubblewrap and _works(bubblewrap):
        yield Task(_by_bubblewrap(task, bubblewrap), _environ(task))
    else:
        sys.stderr.write(UNCONFINED)
        yield task


def _systemd_can(task: Task) -> bool:
    is_there = Path("/run/systemd/system").is_dir() and shutil.which("systemd-run")
    if os.geteuid() or not is_there:
        return False
    own = [path for place in task.readable for path in (place, *place.rglob("*"))]
    return all(map(is_plain, _places(task))) and all(map(_is_for_everybody, own))


def _is_for_everybody(path: Path) -> bool:
    mode = path.stat().st_mode
    needed = stat.S_IROTH | stat.S_IXOTH if stat.S_ISDIR(mode) else stat.S_IROTH
    return mode & needed == needed


@contextmanager
def _unit() -> Iterator[tuple[str, Path]]:
    """Yield a name for a unit and an empty directory for its root; end the unit afterwards."""
    name = f"mms-export-{secrets.token_hex(8)}.service"
    with tempfile.TemporaryDirectory(prefix="mms-export-root-") as root:
        Path(root).chmod(0o755)
        try:
            yield name, Path(root)
        finally:
            # A unit that has ended is not there any more, and that is no error.
            process.run(["systemctl", "kill", "--signal=KILL", name], _TIMEOUT_S)


def _by_systemd(task: Task, name: str, root: Path, timeout_s: float) -> list[str]:
    properties = [*_lines("sandbox_protections.conf"), *_lines("sandbox_root.conf"), *_LIMITS]
    properties += ["DynamicUser=yes", "User=mms-export", f"RootDirectory={root}"]
    # It ends the code when whoever waits for it is gone.
    properties += [f"RuntimeMaxSec={timeout_s + _TIMEOUT_S:.0f}"]
    properties += [f"{_BINDS}{path}" for path in _places(task)]
    if task.writable:
        properties.append(f"BindPaths={task.writable}")
    words = ["systemd-run", "--pipe", "--wait", "--collect", "--quiet", f"--unit={name}"]
    words += [f"--property={line}" for line in properties]
    return [*words, *(f"--setenv={key}" for key in _environ(task)), "--", *task.command]


def _by_bubblewrap(task: Task, program: str) -> list[str]:
    words = [program, "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    for line in _lines("sandbox_root.conf"):
        for place in line.removeprefix(_BINDS).split() if line.startswith(_BINDS) else ():
            needed = place.removeprefix("-")
            words += ["--ro-bind" if needed == place else "--ro-bind-try", needed, needed]
    words += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--chdir", "/"]  # noqa: S108
    for path in _places(task):
        words += ["--ro-bind", str(path), str(path)]
    if task.writable:
        words += ["--bind", str(task.writable), str(task.writable)]
    return [*words, "--remount-ro", "/", "--", *task.command]


@functools.cache
def _works(program: str) -> bool:
    """Return whether the kernel lets bubblewrap do its work; a container's may not."""
    probe = _by_bubblewrap(Task(["/usr/bin/true"], {}), program)
    try:
        return process.run(probe, _TIMEOUT_S).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _lines(name: str) -> list[str]:
    text = resources.files("mms_server.host").joinpath(name).read_text("utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def _environ(task: Task) -> dict[str, str]:
    passed = {key: value for key, value in task.environ.items() if _PASSED_ON.fullmatch(key)}
    return {**passed, "HOME": "/tmp"}  # noqa: S108 - a directory of its own


def _places(task: Task) -> list[Path]:
    """Return what has to be there to read: the interpreter, its packages, and the task's own."""
    searched = [
        Path(word)
        for name in _SEARCHED
        for word in task.environ.get(name, "").split(os.pathsep)
        if word
    ]
    found = [Path(sys.prefix), Path(sys.base_prefix), *searched, *task.readable]
    there = [path.absolute() for path in found if path.exists()]
    # By the names that are used, and by those that links lead to. What is above comes first.
    return sorted({*there, *(path.resolve() for path in there)})
