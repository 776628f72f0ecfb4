"""Run a step of the exporter in a sandboxed child process with a time limit.

Service files are foreign code, and files of foreign origin may crash the parsers of MXNet and ONNX.
If a step exits, hangs, prints or crashes, the exporter reports an error. :mod:`.sandbox` keeps a
step from doing anything else to the machine. The child runs ``__main__``, with the functions of
:mod:`.child_steps`.
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

# Names of steps.
SERVICE, ONNX, SAMPLES = "service", "onnx", "samples"
# Kind of an error that a step reports; the other kind is SERVICE.
ARCHIVE = "archive"
# Answers of the step SERVICE.
SYMBOLIC, GLUON = "symbolic", "gluon"

_POLL_S: Final = 0.02
_MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
# bubblewrap reports a signal as a shell does: exit code 128 + signal number.
_SIGNAL_CODES_FROM: Final = 128


def run(
    step: str,
    *arguments: str,
    where: Path,
    timeout_s: float,
    readable: Sequence[Path],
    writable: Path | None = None,
) -> Any:
    """Return the answer of a step; ``where`` is the file that error messages name.

    Besides the system's files, the step can only read paths below ``readable``. It can only write
    into the directory ``writable``. What its code prints goes to stderr. All processes that it
    started are killed.

    Raises:
        MMSError: the step refused, took longer than ``timeout_s`` seconds, or ended without an
            answer.
    """
    command = [sys.executable, "-B", "-P", "-m", str(__package__), step, *arguments]
    task = Task(command, {**os.environ, "PYTHONPATH": _python_path()}, readable, writable)
    with tempfile.TemporaryFile() as answer, confined(task, timeout_s) as sandboxed:
        process = subprocess.Popen(
            sandboxed.command,
            stdin=subprocess.DEVNULL,
            stdout=answer,
            stderr=sys.__stderr__ or subprocess.DEVNULL,
            env=dict(sandboxed.environ),
            start_new_session=True,
        )
        ended = False
        try:
            ended = _wait_for_end(process.pid, timeout_s)
        finally:
            # The process is not reaped yet, so no other process group can have its number.
            os.killpg(process.pid, signal.SIGKILL)
            code = process.wait(timeout_s)
        if not ended:
            raise ArchiveError(
                where,
                f"its code ran longer than {timeout_s:g} s.",
                fix="it must not wait for anything when it is imported or predicts.",
            )
        return _parse_answer(answer, where, code)


def _python_path() -> str:
    """Return the child's PYTHONPATH: the directory of this package, then that of the caller."""
    root = str(Path(mms_server.__file__).parents[1])
    return os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))


def _wait_for_end(pid: int, timeout_s: float) -> bool:
    """Return whether the process ended in time; it is not reaped."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return True
        time.sleep(_POLL_S)
    return False


def _parse_answer(answer: BinaryIO, where: Path, code: int) -> Any:
    """Return the value in an answer of ``__main__``, or raise the error in it."""
    answer.seek(0)
    try:
        data = json.loads(answer.read(_MAX_ANSWER_BYTES))
        if "value" in data:
            return data["value"]
        kind, place, cause, fix = data["refused"]
    except (ValueError, KeyError, TypeError) as error:
        number = -code if code < 0 else code - _SIGNAL_CODES_FROM
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
