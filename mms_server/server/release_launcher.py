"""Start the server of one release: the command ``mms-release-server RELEASE_ID``.

Each runtime has this command. A unit calls that of the current runtime, which hands over to that of
the runtime that the release was checked with. So the only things that two versions have to agree
on are the command, its argument and ``runtime`` in ``release.json``.

The process then becomes gunicorn. Its process id stays the same, so systemd's protocols for sockets
and readiness hold. After failed starts the launcher waits first, longer each time.
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

# A release's code comes from elsewhere: it sees these variables of ours and no others.
_PASSED_ON = (
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
    # One round at a time: a request that an idle worker could start must wait in the kernel's
    # queue, which all workers share, and not in a busy worker (mms_server.inference.batching).
    "--worker-connections=1",
    "--keep-alive=0",
    "--graceful-timeout=60",
    "--no-control-socket",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Become the release's server; return only with an exit code that is an error."""
    options = _parser().parse_args(argv)
    root = options.layout_root
    layout = Layout.under(root) if root else Layout()
    try:
        handed_over = hand_over(runtime_of(layout, options.release), options.release, root)
        if handed_over:
            _become(handed_over, dict(os.environ))
        release = read_release(layout, options.release)
        check_socket(os.environ, os.getpid())
        start_barrier.wait(layout.hold_file(release.id), time.monotonic, time.sleep)
        _wait_for_turn(InstanceFiles(layout.instance(release.id)))
        _become(arguments(release), environment(release, os.environ, root))
    except MMSError as error:
        print(f"{COMMAND}: {error}", file=sys.stderr)  # noqa: T201 - the journal reads it
        return error.exit_code


def runtime_of(layout: Layout, release_id: str) -> Path:
    """Return the runtime of a release, whatever version has written its ``release.json``.

    Raises:
        MMSError: the file cannot be read, or names no runtime.
    """
    file = layout.release_file(release_id)
    try:
        runtime = json.loads(file.read_text("utf-8"))["runtime"]
        return Path(runtime)
    except OSError as error:
        raise MMSError(f"{file} cannot be read: {error.strerror}.", fix=_WRITE_AGAIN) from error
    except (ValueError, KeyError, TypeError) as error:
        raise MMSError(f"{file} names no runtime.", fix=_WRITE_AGAIN) from error


def hand_over(
    runtime: Path, release_id: str, root: Path | None, own: Path = Path(sys.prefix)
) -> list[str]:
    """Return the command line of the release's own runtime; empty if this is that runtime."""
    if runtime == own.resolve():
        return []
    options = ["--layout-root", str(root)] if root else []
    command = runtime / "bin" / COMMAND
    if command.exists():
        return [str(command), release_id, *options]
    # Runtimes of version 0.1 have no such command. Remove in 0.3.
    return [str(runtime / "bin/python"), "-m", "mms_server.worker", release_id, *options]


def _wait_for_turn(instance_files: InstanceFiles) -> None:
    """Wait as long as the failures of those before this one ask for, and tell systemd."""
    instance_files.prepare()
    begun = start_history.read(instance_files.starts).again(time.time())
    wait_s = begun.next - begun.begun
    start_history.write(instance_files.starts, begun)
    if wait_s:
        text = f"{begun.failures} starts in a row failed: trying again in {wait_s:g} s."
        print(f"{COMMAND}: {text}", file=sys.stderr, flush=True)  # noqa: T201 - the journal
        extend = int((wait_s + _start_timeout_s(os.environ)) * 1e6)
        sd_notify(f"STATUS={text}\nEXTEND_TIMEOUT_USEC={extend}", logging.getLogger(__name__))
        time.sleep(wait_s)


def _start_timeout_s(environ: Mapping[str, str]) -> float:
    """Return how long the unit may take to start: a wait must not count against it."""
    text = environ.get(START_TIMEOUT_VARIABLE, "")
    return float(text) if text.isascii() and text.isdigit() else _START_TIMEOUT_S


def _become(command: list[str], environ: dict[str, str]) -> NoReturn:
    os.execve(command[0], command, environ)  # noqa: S606 - no shell


def read_release(layout: Layout, release_id: str) -> Release:
    """Return the release with this id.

    Raises:
        MMSError: there is none, or the file describes another one.
    """
    file = layout.release_file(release_id)
    try:
        release = Release.from_json(file.read_text("utf-8"))
    except OSError as error:
        raise MMSError(f"{file} cannot be read: {error.strerror}.", fix=_WRITE_AGAIN) from error
    if release.id != release_id:
        cause = f"{file} describes {release.id}, not {release_id}."
        raise MMSError(cause, fix=_WRITE_AGAIN)
    return release


def check_socket(environ: Mapping[str, str], pid: int) -> None:
    """Refuse to run without the one socket that systemd holds for the release.

    Raises:
        MMSError: no socket was passed: gunicorn would open a port of its own.
    """
    if environ.get("LISTEN_PID") != str(pid) or environ.get("LISTEN_FDS") != "1":
        raise MMSError(
            "no listening socket was passed by systemd.",
            fix="start it as a unit: systemctl start mms@<release>.service.",
        )


def arguments(release: Release) -> list[str]:
    """Return the command line of a release's gunicorn: defaults first, so that its own win."""
    return [
        f"{release.runtime}/bin/python",
        "-m",
        "mms_server.server.process_exit",
        "--config=python:mms_server.server.gunicorn_conf",
        f"--workers={release.workers}",
        # What CUDA has set up does not survive a fork: on a GPU each worker loads its own model.
        *(() if release.on_gpu else ("--preload",)),
        *_FIXED_ARGUMENTS,
        f"--timeout={release.watchdog_s}",
        *release.gunicorn_args,
        "mms_server.server.application:application",
    ]


def environment(release: Release, environ: Mapping[str, str], root: Path | None) -> dict[str, str]:
    """Return the environment of a release's server."""
    passed = {name: environ[name] for name in _PASSED_ON if name in environ}
    own = {RELEASE_VARIABLE: release.id, **({ROOT_VARIABLE: str(root)} if root else {})}
    # One thread per worker is fastest when workers fill the machine; the release may say otherwise.
    return {"OMP_NUM_THREADS": "1", **release.environment, **passed, **own}


def layout_of(environ: Mapping[str, str]) -> Layout:
    """Return the layout that the launcher passed on."""
    root = environ.get(ROOT_VARIABLE)
    return Layout.under(Path(root)) if root else Layout()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=COMMAND,
        description="Become the server of one release.",
    )
    parser.add_argument("release", help="id of the release: <model>.<8 hex>")
    parser.add_argument("--layout-root", type=Path, help="directory that stands for / (for tests)")
    return parser
