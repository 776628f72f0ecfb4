"""One process at a time changes a host, and the others are told which."""

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

_PAUSE_S: Final = 0.2
_OWNER_BYTES: Final = 1000
_BRIEF: Final = ("`mms gc`", "`mms edge`")
_BRIEF_WAIT_S: Final = 60.0


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
    """Hold the host's lock; the kernel frees it when the process ends, however it ends.

    What only takes a moment, and comes by itself as `mms gc` does, is waited for in any case;
    ``report`` is told.

    Raises:
        LockHeldError: another process still has it after ``wait_s`` seconds; names it.
    """
    layout.state.mkdir(parents=True, exist_ok=True)
    descriptor = file_lock.open_lock_file(layout.state / "lock")
    try:
        began, told = clock(), False
        while not file_lock.try_lock(descriptor):
            owner = _owner(descriptor)
            brief = any(each in owner for each in _BRIEF)
            if clock() - began >= (max(wait_s, _BRIEF_WAIT_S) if brief else wait_s):
                raise LockHeldError(owner)
            if not told:
                report(f"waiting for {owner}")
                told = True
            sleep(_PAUSE_S)
        owner = f"process {os.getpid()} (`{command}`, since {started.isoformat('T', 'seconds')})"
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, owner.encode()[:_OWNER_BYTES], 0)
        yield
    finally:
        os.close(descriptor)


def _owner(descriptor: int) -> str:
    return os.pread(descriptor, _OWNER_BYTES, 0).decode("utf-8", "replace") or "another process"
