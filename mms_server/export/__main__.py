"""The process that runs one step of the exporter: ``python -m mms_server.export FD STEP ...``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from mms_server.errors import ArchiveError, MMSError
from mms_server.export import child, steps

_STEPS: Final[dict[str, Callable[..., Any]]] = {
    child.SERVICE: steps.service_kind,
    child.ONNX: steps.convert_onnx,
    child.SAMPLES: steps.answer_samples,
}


def main(argv: Sequence[str]) -> None:
    """Write the answer of a step to a descriptor and end at once."""
    descriptor, step, *words = argv
    try:
        answer = {"value": _STEPS[step](*words)}
    except MMSError as error:
        kind = child.ARCHIVE if isinstance(error, ArchiveError) else child.SERVICE
        answer = {"refused": [kind, error.where(), error.cause, error.fix]}
    with os.fdopen(int(descriptor), "w", encoding="utf-8") as stream:
        json.dump(answer, stream)
    # Threads that an import has started would keep the process.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
