"""The queue delay of a release: workers write it, the control application reads it.

The queue is the kernel's; only the time that a request spent in it can be seen. The worker that
took the last request writes that time into a mapped file. A model's code can write the file too, so
a reader accepts only possible numbers.
"""

from __future__ import annotations

import math
import mmap
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mms_server.core.untrusted_files import open_group_file, read_bounded
from mms_server.crashes.in_flight_log import MAX_SLOTS
from mms_server.host.instance_files import InstanceFiles
from mms_server.overload import worker_load

_FORM: Final = struct.Struct("<ddd")
_MOST_S: Final = 86_400.0
RECENT_S: Final = 5.0
"""An older record says nothing about the present queue."""


@dataclass(frozen=True)
class QueueDelay:
    """A worker took a request at ``at`` (Unix time), after ``queue_s`` seconds in the queue.

    ``request_s`` is the mean time of a worker's last predictions.
    """

    at: float
    queue_s: float
    request_s: float


class QueueDelayRecorder:
    """The mapped file; all workers write the same record, so the newest counts."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        """Map the file; ``clock`` is Unix time.

        Raises:
            OSError: the file cannot be written.
        """
        descriptor = open_group_file(path, os.O_RDWR)
        try:
            # Now, or a full file system would end a process that writes.
            os.posix_fallocate(descriptor, 0, _FORM.size)
            self._map = mmap.mmap(descriptor, _FORM.size)
        finally:
            os.close(descriptor)
        self._clock = clock

    def record(self, queue_s: float, request_s: float) -> None:
        """Record a request that a worker takes now."""
        self._map[:] = _FORM.pack(self._clock(), queue_s, request_s)


def last_queue_delay(path: Path) -> QueueDelay | None:
    """Return the last record; None if there is none, or its numbers are impossible."""
    raw = read_bounded(path, _FORM.size)
    if len(raw) != _FORM.size:
        return None
    found = QueueDelay(*_FORM.unpack(raw))
    possible = all(math.isfinite(each) for each in (found.at, found.queue_s, found.request_s))
    if not possible or not found.at or not 0 <= found.queue_s <= _MOST_S:
        return None
    return found if 0 <= found.request_s <= _MOST_S else None


def expected_wait(instance_files: InstanceFiles, now: float) -> QueueDelay | None:
    """Return the queue delay that a request meets now; None if it is not known, or there is none.

    There is none while a worker is idle: it takes the request at once.
    """
    found = last_queue_delay(instance_files.queue)
    if found is None or not 0 <= now - found.at <= RECENT_S:
        return None
    return (
        None if worker_load.any_idle(read_bounded(instance_files.worker_load, MAX_SLOTS)) else found
    )
