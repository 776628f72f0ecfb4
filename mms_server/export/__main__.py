"""The process that runs one step of the exporter: ``python -m mms_server.export STEP ...``."""

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
    """Write the answer of a step to what was stdout, and end at once."""
    descriptor = os.dup(_STDOUT)
    # Only the answer goes there, whatever code from elsewhere prints.
    os.dup2(_STDERR, _STDOUT)
    step, *words = argv
    try:
        answer = {"value": _steps()[step](*words)}
    except MMSError as error:
        kind = child_process.ARCHIVE if isinstance(error, ArchiveError) else child_process.SERVICE
        answer = {"refused": [kind, error.where(), error.cause, error.fix]}
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(answer, stream)
    if sys.__stdout__:
        with contextlib.suppress(OSError, ValueError):
            sys.__stdout__.flush()
    # Threads that an import has started would keep the process.
    os._exit(0)


def _steps() -> dict[str, Callable[..., Any]]:
    # The engine prints when it is imported.
    from mms_server.export import child_steps  # noqa: PLC0415

    return {
        child_process.SERVICE: child_steps.service_kind,
        child_process.ONNX: child_steps.convert_onnx,
        child_process.SAMPLES: child_steps.answer_samples,
    }


if __name__ == "__main__":
    main(sys.argv[1:])
