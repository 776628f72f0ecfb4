"""Locks on files, which the kernel frees when the process ends, however it ends.

They are locks of ``flock``: on NFS (version 4, as EFS has it) they hold between hosts. The locks of
:mod:`mms_server.host.process_liveness` are of another kind: they also tell which process has one.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from mms_server.core.files import open_nofollow

_PAUSE_S: Final = 0.1


def open_lock_file(path: Path) -> int:
    """Return a descriptor to lock; closing it frees the lock. The file is made if it is missing.

    Raises:
        OSError: it cannot be opened, or is a symbolic link.
    """
    return open_nofollow(path, os.O_RDWR | os.O_CREAT, 0o644)


def try_lock(descriptor: int) -> bool:
    """Lock a file without waiting; return whether it is locked now.

    Raises:
        OSError: the file system has no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock(
    descriptor: int,
    wait_s: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    pause_s: float = _PAUSE_S,
) -> bool:
    """Lock a file, waiting up to ``wait_s`` seconds; return whether it is locked now.

    Raises:
        OSError: as for :func:`try_lock`.
    """
    deadline = clock() + wait_s
    while not try_lock(descriptor):
        if clock() >= deadline:
            return False
        sleep(pause_s)
    return True
