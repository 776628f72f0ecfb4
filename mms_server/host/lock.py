"""The lock of a host: one process at a time changes it, and the lock file names that process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from mms_server.core import file_lock
from mms_server.core.errors import LockHeldError
from mms_server.core.paths import Layout

_POLL_S: Final = 0.2
_OWNER_BYTES: Final = 1000
_SHORT_COMMANDS: Final = ("`mms gc`", "`mms edge`")
_SHORT_WAIT_S: Final = 60.0


@contextmanager
def locked(
    layout: Layout,
    command: str,
    started: datetime,
    *,
    wait_s: float = 0,
    report: Callable[[str], None] = lambda _text: None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[None]:
    """Hold the host's lock within the context; the kernel frees it however the process ends.

    `mms gc` and `mms edge` are short, and `mms gc` runs by itself. For a lock of theirs the wait is
    at least 60 s. ``report`` is called once, if there is a wait.

    Raises:
        LockHeldError: another process still has the lock after ``wait_s``; the error names it.
    """
    layout.state.mkdir(parents=True, exist_ok=True)
    descriptor = file_lock.open_lock_file(layout.state / "lock")
    try:
        began, reported = clock(), False
        while not file_lock.try_lock(descriptor):
            owner = _owner(descriptor)
            is_short = any(name in owner for name in _SHORT_COMMANDS)
            if clock() - began >= (max(wait_s, _SHORT_WAIT_S) if is_short else wait_s):
                raise LockHeldError(owner)
            if not reported:
                report(f"waiting for {owner}")
                reported = True
            sleep(_POLL_S)
        owner = f"process {os.getpid()} (`{command}`, since {started.isoformat('T', 'seconds')})"
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, owner.encode()[:_OWNER_BYTES], 0)
        yield
    finally:
        os.close(descriptor)


def _owner(descriptor: int) -> str:
    return os.pread(descriptor, _OWNER_BYTES, 0).decode("utf-8", "replace") or "another process"
