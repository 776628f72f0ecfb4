"""Sandbox for foreign code: a transient systemd unit, or bubblewrap, or neither with a warning.

* systemd applies the same protections as to a release on a host, from the same file. It requires
  root, and files that every user may read.
* bubblewrap requires neither. It gives a file system with only the listed paths, no network, and a
  process namespace.
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
_ALLOWED_VARIABLES: Final = re.compile(
    r"PATH|PYTHONPATH|LANG|LC_ALL|TZ|LD_LIBRARY_PATH|(MXNET|OMP)_\w+"
)
_SEARCH_PATHS: Final = ("PYTHONPATH", "LD_LIBRARY_PATH")
_BINDS: Final = "BindReadOnlyPaths="
_LIMITS: Final = ("MemoryMax=80%", "TasksMax=512", "TimeoutStopSec=1")
_TIMEOUT_S: Final = 20.0


@dataclass(frozen=True)
class Task:
    """A command, its environment, the paths it can read, and the directory it can write into."""

    command: Sequence[str]
    environ: Mapping[str, str]
    readable: Sequence[Path] = ()
    writable: Path | None = None


@contextmanager
def confined(task: Task, timeout_s: float) -> Iterator[Task]:
    """Yield the command that runs a task with as few rights as this machine supports.

    After ``timeout_s`` and a margin systemd ends the task. When the context ends, all processes of
    the unit are killed.
    """
    bubblewrap = shutil.which("bwrap")
    if _can_use_systemd(task):
        with _unit() as (name, root):
            yield Task(_systemd_command(task, name, root, timeout_s), _environ(task))
    elif bubblewrap and _bubblewrap_works(bubblewrap):
        yield Task(_bubblewrap_command(task, bubblewrap), _environ(task))
    else:
        sys.stderr.write(UNCONFINED)
        yield task


def _can_use_systemd(task: Task) -> bool:
    installed = Path("/run/systemd/system").is_dir() and shutil.which("systemd-run")
    if os.geteuid() or not installed:
        return False
    files = [path for root in task.readable for path in (root, *root.rglob("*"))]
    return all(map(is_plain, _readable_paths(task))) and all(map(_is_world_readable, files))


def _is_world_readable(path: Path) -> bool:
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
            # If the unit has already ended, this fails; the result is ignored.
            process.run(["systemctl", "kill", "--signal=KILL", name], _TIMEOUT_S)


def _systemd_command(task: Task, name: str, root: Path, timeout_s: float) -> list[str]:
    properties = [
        *_read_directives("sandbox_protections.conf"),
        *_read_directives("sandbox_root.conf"),
        *_LIMITS,
    ]
    properties += ["DynamicUser=yes", "User=mms-export", f"RootDirectory={root}"]
    # Ends the task if the exporter itself was killed and can no longer do it.
    properties += [f"RuntimeMaxSec={timeout_s + _TIMEOUT_S:.0f}"]
    properties += [f"{_BINDS}{path}" for path in _readable_paths(task)]
    if task.writable:
        properties.append(f"BindPaths={task.writable}")
    command = ["systemd-run", "--pipe", "--wait", "--collect", "--quiet", f"--unit={name}"]
    command += [f"--property={line}" for line in properties]
    return [*command, *(f"--setenv={key}" for key in _environ(task)), "--", *task.command]


def _bubblewrap_command(task: Task, program: str) -> list[str]:
    command = [program, "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    for line in _read_directives("sandbox_root.conf"):
        for word in line.removeprefix(_BINDS).split() if line.startswith(_BINDS) else ():
            # systemd's prefix "-": no error if the path does not exist.
            path = word.removeprefix("-")
            command += ["--ro-bind" if path == word else "--ro-bind-try", path, path]
    command += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--chdir", "/"]  # noqa: S108
    for readable in _readable_paths(task):
        command += ["--ro-bind", str(readable), str(readable)]
    if task.writable:
        command += ["--bind", str(task.writable), str(task.writable)]
    return [*command, "--remount-ro", "/", "--", *task.command]


@functools.cache
def _bubblewrap_works(program: str) -> bool:
    """Return whether the kernel lets bubblewrap create namespaces; in a container it may not."""
    probe = _bubblewrap_command(Task(["/usr/bin/true"], {}), program)
    try:
        return process.run(probe, _TIMEOUT_S).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _read_directives(name: str) -> list[str]:
    """Return the directives of a drop-in that releases use too, without comments."""
    text = resources.files("mms_server.host").joinpath(name).read_text("utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def _environ(task: Task) -> dict[str, str]:
    allowed = {k: v for k, v in task.environ.items() if _ALLOWED_VARIABLES.fullmatch(k)}
    return {**allowed, "HOME": "/tmp"}  # noqa: S108 - the sandbox has a /tmp of its own


def _readable_paths(task: Task) -> list[Path]:
    """Return the paths that the task must read: interpreter, packages, and those of the task."""
    searched = [
        Path(word)
        for name in _SEARCH_PATHS
        for word in task.environ.get(name, "").split(os.pathsep)
        if word
    ]
    wanted = [Path(sys.prefix), Path(sys.base_prefix), *searched, *task.readable]
    existing = [path.absolute() for path in wanted if path.exists()]
    # Both the names as used and the targets of links. Sorted, so that parents are mounted first.
    return sorted({*existing, *(path.resolve() for path in existing)})
