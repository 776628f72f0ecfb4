"""The launcher of a release's server: the command ``mms-release-server RELEASE_ID``.

Each runtime has this command. A unit runs the command of the current runtime. It executes the same
command of the runtime that the release was checked with. So two versions have to agree only on the
command, its argument, and ``runtime`` in ``release.json``.

The process then executes gunicorn and keeps its process id, as systemd's protocols for sockets and
readiness require. After failed starts the launcher first waits, longer each time.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from gunicorn.systemd import sd_notify

from mms_server.core import console
from mms_server.core.errors import MMSError
from mms_server.core.paths import Layout
from mms_server.crashes import start_history
from mms_server.host import start_barrier
from mms_server.host.instance_files import InstanceFiles
from mms_server.host.release import Release

COMMAND = "mms-release-server"
RELEASE_VARIABLE = "MMS_RELEASE_ID"
ROOT_VARIABLE = "MMS_LAYOUT_ROOT"
START_TIMEOUT_VARIABLE = "MMS_START_TIMEOUT_S"

_START_TIMEOUT_S = 300.0
_WRITE_AGAIN = "run `mms apply` to write it again."

# A release's code is not trusted: it gets these variables of the launcher's environment, no others.
_INHERITED_VARIABLES = (
    "PATH",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
)
_FIXED_ARGUMENTS = (
    "--worker-class=mms_server.server.gevent_worker.Worker",
    # One round of requests at a time: a further request waits in the kernel's queue, which all
    # workers share, until a worker is idle. In a busy worker it would wait although another is
    # idle (mms_server.inference.batching).
    "--worker-connections=1",
    "--keep-alive=0",
    "--graceful-timeout=60",
    "--no-control-socket",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Execute the release's server. It returns only after an error, with the exit code."""
    options = _parser().parse_args(argv)
    root = options.layout_root
    layout = Layout.under(root) if root else Layout()
    try:
        other = other_launcher(runtime_of(layout, options.release), options.release, root)
        if other:
            _execute(other, dict(os.environ))
        release = read_release(layout, options.release)
        check_socket(os.environ, os.getpid())
        start_barrier.wait(layout.hold_file(release.id), time.monotonic, time.sleep)
        _wait_after_failures(InstanceFiles(layout.instance(release.id)))
        _execute(gunicorn_command(release), environment(release, os.environ, root))
    except MMSError as error:
        print(f"{COMMAND}: {error}", file=sys.stderr)  # noqa: T201 - the journal reads it
        return error.exit_code


def runtime_of(layout: Layout, release_id: str) -> Path:
    """Return the runtime of a release, for a ``release.json`` of any version.

    Raises:
        MMSError: the file cannot be read, or names no runtime.
    """
    file = layout.release_file(release_id)
    try:
        return Path(json.loads(_read_text(file))["runtime"])
    except (ValueError, KeyError, TypeError) as error:
        raise MMSError(f"{file} names no runtime.", fix=_WRITE_AGAIN) from error


def _read_text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except OSError as error:
        raise MMSError(f"{file} cannot be read: {error.strerror}.", fix=_WRITE_AGAIN) from error


def other_launcher(
    runtime: Path, release_id: str, root: Path | None, current: Path = Path(sys.prefix)
) -> list[str]:
    """Return the command line of the launcher in ``runtime``; empty if that is ``current``."""
    if runtime == current.resolve():
        return []
    options = ["--layout-root", str(root)] if root else []
    command = runtime / "bin" / COMMAND
    if command.exists():
        return [str(command), release_id, *options]
    # Runtimes of version 0.1 have no such command. Remove in 0.3.
    return [str(runtime / "bin/python"), "-m", "mms_server.worker", release_id, *options]


def _wait_after_failures(instance_files: InstanceFiles) -> None:
    """Wait if earlier starts have failed, and let systemd extend the start timeout by the wait."""
    instance_files.prepare()
    start = start_history.read(instance_files.starts).again(time.time())
    wait_s = start.next - start.begun
    start_history.write(instance_files.starts, start)
    if wait_s:
        text = f"{start.failures} starts in a row failed: trying again in {wait_s:g} s."
        print(f"{COMMAND}: {text}", file=sys.stderr, flush=True)  # noqa: T201 - the journal
        extend_us = int((wait_s + _start_timeout_s(os.environ)) * 1e6)
        sd_notify(f"STATUS={text}\nEXTEND_TIMEOUT_USEC={extend_us}", logging.getLogger(__name__))
        time.sleep(wait_s)


def _start_timeout_s(environ: Mapping[str, str]) -> float:
    """Return the start timeout of the unit, in seconds."""
    text = environ.get(START_TIMEOUT_VARIABLE, "")
    return float(text) if text.isascii() and text.isdigit() else _START_TIMEOUT_S


def _execute(command: list[str], environ: dict[str, str]) -> NoReturn:
    os.execve(command[0], command, environ)  # noqa: S606 - no shell


def read_release(layout: Layout, release_id: str) -> Release:
    """Return the release with this id.

    Raises:
        MMSError: the file cannot be read, or describes another release.
    """
    file = layout.release_file(release_id)
    release = Release.from_json(_read_text(file))
    if release.id != release_id:
        cause = f"{file} describes {release.id}, not {release_id}."
        raise MMSError(cause, fix=_WRITE_AGAIN)
    return release


def check_socket(environ: Mapping[str, str], pid: int) -> None:
    """Check that systemd passed exactly one socket, the release's.

    Raises:
        MMSError: systemd did not: gunicorn would open a TCP port instead.
    """
    if environ.get("LISTEN_PID") != str(pid) or environ.get("LISTEN_FDS") != "1":
        raise MMSError(
            "no listening socket was passed by systemd.",
            fix="start it as a unit: systemctl start mms@<release>.service.",
        )


def gunicorn_command(release: Release) -> list[str]:
    """Return the command line of gunicorn: defaults first, so that the release's arguments win."""
    return [
        f"{release.runtime}/bin/python",
        "-m",
        "mms_server.server.process_exit",
        "--config=python:mms_server.server.gunicorn_conf",
        f"--workers={release.workers}",
        # CUDA does not work after a fork: on a GPU each worker loads the model itself.
        *(() if release.on_gpu else ("--preload",)),
        *_FIXED_ARGUMENTS,
        f"--timeout={release.watchdog_s}",
        *release.gunicorn_args,
        "mms_server.server.application:application",
    ]


def environment(release: Release, environ: Mapping[str, str], root: Path | None) -> dict[str, str]:
    """Return the environment of a release's server."""
    inherited = {name: environ[name] for name in _INHERITED_VARIABLES if name in environ}
    added = {RELEASE_VARIABLE: release.id, **({ROOT_VARIABLE: str(root)} if root else {})}
    # One thread per worker is fastest if there is a worker per core; the release may override it.
    return {"OMP_NUM_THREADS": "1", **release.environment, **inherited, **added}


def layout_of(environ: Mapping[str, str]) -> Layout:
    """Return the layout in the environment that the launcher made."""
    root = environ.get(ROOT_VARIABLE)
    return Layout.under(Path(root)) if root else Layout()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=COMMAND,
        description="Run the server of one release.",
    )
    console.add_version(parser)
    parser.add_argument("release", help="id of the release: <model>.<8 hex>")
    parser.add_argument("--layout-root", type=Path, help="directory that stands for / (for tests)")
    return parser
