"""The exit of a process that has loaded the engine, without the interpreter's finalization.

The engine's Python package keeps callbacks made by ctypes. In a process that has forked, libffi of
Debian 12 aborts when the interpreter frees them at exit. A server that stopped cleanly would look
like a crash. So the process exits by ``os._exit``, after its own code has ended.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

Main = Callable[[], int | str | None]


def run_and_end(main: Main) -> NoReturn:
    """Call ``main`` and end the process with the exit code of its result or exception."""
    status = 0
    try:
        sys.exit(main())
    except SystemExit as end:
        status = exit_status(end)
    except BaseException:  # noqa: BLE001 - as the interpreter does at the top level
        traceback.print_exc()
        status = 1
    finally:
        end_now(status)


def end_now(status: int) -> NoReturn:
    """End the process with the exit code ``status``, after flushing its logs and output."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        # A model's code may have closed them.
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def exit_status(end: SystemExit) -> int:
    """Return the exit code of a SystemExit; a text is printed, as the interpreter does."""
    if end.code is None:
        return 0
    if isinstance(end.code, int):
        return end.code & 0xFF
    print(end.code, file=sys.stderr)  # noqa: T201 - the interpreter's own behaviour
    return 1


def run_gunicorn() -> None:
    """Run gunicorn's command line: ``[OPTIONS] [APP_MODULE]``."""
    # Other users of this module do not need gunicorn.
    from mms_server.server.arbiter import ReleaseServer  # noqa: PLC0415

    ReleaseServer("%(prog)s [OPTIONS] [APP_MODULE]").run()


if __name__ == "__main__":
    run_and_end(run_gunicorn)
