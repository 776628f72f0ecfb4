"""Python's stacks of a process that crashes, hangs or is aborted, in a file that survives it."""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import logging
import os
import traceback
from collections.abc import Iterator

from greenlet import greenlet

from mms_server.core.untrusted_files import open_group_file
from mms_server.host.instance_files import InstanceFiles

_log = logging.getLogger(__name__)


def opened(instance_files: InstanceFiles, name: str) -> int | None:
    """Return a descriptor of the emptied file of a process; None, with a log line, if it fails."""
    try:
        return open_group_file(instance_files.stack(name), os.O_WRONLY | os.O_TRUNC)
    except OSError as error:
        _log.warning("a crash will leave no stack: %s", error)
        return None


def start(descriptor: int) -> None:
    """Write the stacks of all threads when a signal like SIGSEGV or SIGABRT comes."""
    faulthandler.enable(descriptor, all_threads=True)


def stop() -> None:
    """Leave those signals to whoever handled them before."""
    faulthandler.disable()


def now(descriptor: int) -> None:
    """Write the stacks of all threads, and of the greenlets that wait in them."""
    faulthandler.dump_traceback(descriptor, all_threads=True)
    text = "".join(f"\nGreenlet that waits:\n{''.join(rows)}" for rows in _waiting())
    with contextlib.suppress(OSError):
        os.write(descriptor, text.encode("utf-8", "replace"))


def _waiting() -> Iterator[list[str]]:
    """Yield the stack of each greenlet that does not run: no thread's stack shows it."""
    for one in gc.get_objects():
        if isinstance(one, greenlet) and one.gr_frame is not None:
            yield traceback.format_stack(one.gr_frame)
