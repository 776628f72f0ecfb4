"""Write Python's stacks of a process that crashes, hangs or is aborted to a file."""

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
    """Return a descriptor of a process's emptied file; log a failure and return None."""
    try:
        return open_group_file(instance_files.stack(name), os.O_WRONLY | os.O_TRUNC)
    except OSError as error:
        _log.warning("a crash will leave no stack: %s", error)
        return None


def start(descriptor: int) -> None:
    """Write the stacks of all threads when a signal like SIGSEGV or SIGABRT comes."""
    faulthandler.enable(descriptor, all_threads=True)


def stop() -> None:
    """Restore the handlers that these signals had before."""
    faulthandler.disable()


def now(descriptor: int) -> None:
    """Write the stacks of all threads, and of the greenlets that wait in them."""
    faulthandler.dump_traceback(descriptor, all_threads=True)
    text = "".join(f"\nGreenlet that waits:\n{''.join(rows)}" for rows in _waiting())
    with contextlib.suppress(OSError):
        os.write(descriptor, text.encode("utf-8", "replace"))


def _waiting() -> Iterator[list[str]]:
    """Yield the stack of each greenlet that waits: the stacks of threads do not show it."""
    for one in gc.get_objects():
        if isinstance(one, greenlet) and one.gr_frame is not None:
            yield traceback.format_stack(one.gr_frame)
