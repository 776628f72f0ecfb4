"""Run a step of the exporter in a process of its own, confined, and with a time limit.

Service files are foreign code, and so are the engine's parsers to a file from elsewhere: what
exits, hangs, prints or crashes there must not take the exporter along, nor do anything else to the
machine: see :mod:`.isolation`. The child is ``__main__``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

import mms_server
from mms_server.core.errors import ArchiveError, ServiceError
from mms_server.export.sandbox import Task, confined

SERVICE, ONNX, SAMPLES = "service", "onnx", "samples"
ARCHIVE = "archive"
# What the step ``service`` answers.
SYMBOLIC, GLUON = "symbolic", "gluon"

_POLL_S: Final = 0.02
_MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
# As a shell has it, and bubblewrap: code 128 and more stands for a signal.
_SIGNALS: Final = 128


def run(
    step: str,
    *words: str,
    where: Path,
    timeout_s: float,
    readable: Sequence[Path],
    writable: Path | None = None,
) -> Any:
    """Return what a step answers; ``where`` is the file that errors are about.

    The step can read only what is below ``readable`` of what is not the system's, and write only
    into ``writable``, a directory. What its code prints goes to stderr. Nothing that it started
    survives.

    Raises:
        MMSError: the step refused, did not end within ``timeout_s`` seconds, or did not answer.
    """
    command = [sys.executable, "-B", "-P", "-m", str(__package__), step, *words]
    task = Task(command, {**os.environ, "PYTHONPATH": _path()}, readable, writable)
    with tempfile.TemporaryFile() as answer, confined(task, timeout_s) as confining:
        process = subprocess.Popen(
            confining.command,
            stdin=subprocess.DEVNULL,
            stdout=answer,
            stderr=sys.__stderr__ or subprocess.DEVNULL,
            env=dict(confining.environ),
            start_new_session=True,
        )
        ended = False
        try:
            ended = _ended(process.pid, timeout_s)
        finally:
            # Before it is reaped: until then no other group can have its number.
            os.killpg(process.pid, signal.SIGKILL)
            code = process.wait(timeout_s)
        if not ended:
            raise ArchiveError(
                where,
                f"its code ran longer than {timeout_s:g} s.",
                fix="it must not wait for anything when it is imported or predicts.",
            )
        return _value(answer, where, code)


def _path() -> str:
    """Let the child find this package, and what the caller's environment names."""
    root = str(Path(mms_server.__file__).parents[1])
    return os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))


def _ended(pid: int, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return True
        time.sleep(_POLL_S)
    return False


def _value(answer: BinaryIO, where: Path, code: int) -> Any:
    answer.seek(0)
    try:
        data = json.loads(answer.read(_MAX_ANSWER_BYTES))
        if "value" in data:
            return data["value"]
        kind, place, cause, fix = data["refused"]
    except (ValueError, KeyError, TypeError) as error:
        number = -code if code < 0 else code - _SIGNALS
        killed = number in signal.valid_signals()
        ending = f"was killed by signal {number}" if killed else f"exited with code {code}"
        raise ArchiveError(
            where,
            f"the process that ran its code {ending} before it answered.",
            fix="it must not end the process; see the output above.",
        ) from error
    if kind == ARCHIVE:
        raise ArchiveError(place, cause, fix=fix)
    raise ServiceError(cause, fix=fix)
