"""Entry point of the exporter's child process: ``python -m mms_server.export STEP ARGUMENT...``."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from mms_server.core.errors import ArchiveError, MMSError
from mms_server.export import child_process

_STDOUT: Final = 1
_STDERR: Final = 2


def main(argv: Sequence[str]) -> None:
    """Run one step, write its answer as JSON to stdout, and end the process at once."""
    descriptor = os.dup(_STDOUT)
    # What foreign code prints goes to stderr: stdout carries nothing but the answer.
    os.dup2(_STDERR, _STDOUT)
    step, *arguments = argv
    try:
        answer = {"value": _load_steps()[step](*arguments)}
    except MMSError as error:
        kind = child_process.ARCHIVE if isinstance(error, ArchiveError) else child_process.SERVICE
        answer = {"refused": [kind, error.where(), error.cause, error.fix]}
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(answer, stream)
    if sys.__stdout__:
        with contextlib.suppress(OSError, ValueError):
            sys.__stdout__.flush()
    # Threads that the foreign code started would keep the process alive.
    os._exit(0)


def _load_steps() -> dict[str, Callable[..., Any]]:
    # MXNet prints when it is imported, so this must be after stdout is redirected.
    from mms_server.export import child_steps  # noqa: PLC0415

    return {
        child_process.SERVICE: child_steps.service_kind,
        child_process.ONNX: child_steps.convert_onnx,
        child_process.SAMPLES: child_steps.answer_samples,
    }


if __name__ == "__main__":
    main(sys.argv[1:])
