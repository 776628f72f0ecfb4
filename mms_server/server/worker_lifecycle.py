"""The lifecycle of a release's worker: heartbeats of its engine, and replacement by memory."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass

from mms_server.core.file_lock import try_lock
from mms_server.core.untrusted_files import open_group_file
from mms_server.crashes.quarantine import ReleaseQuarantine
from mms_server.host.instance_files import InstanceFiles
from mms_server.host.worker_memory import WorkerMemory
from mms_server.inference.batching.batch_delay import BatchDelay
from mms_server.inference.engine_heartbeat import EngineHeartbeat
from mms_server.overload.backlog_limit import BacklogLimit
from mms_server.overload.worker_load import WorkerLoad

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class IntakeLimits:
    """The limits of a worker's intake.

    ``max_requests`` is the number of requests that it accepts at a time. ``worker_load`` publishes
    how many it has. ``backlog`` limits the requests that wait. ``batch_delay`` is the wait for a
    round to fill.
    """

    worker_load: WorkerLoad
    max_requests: int
    backlog: BacklogLimit
    batch_delay: BatchDelay


class WorkerLifecycle:
    """The lifecycle of one worker; made with the application, it begins after the fork."""

    def __init__(
        self,
        instance_files: InstanceFiles,
        quarantine: ReleaseQuarantine,
        heartbeat: EngineHeartbeat,
        memory: WorkerMemory,
        count_replacement: Callable[[], None],
        *,
        intake: IntakeLimits,
    ) -> None:
        self._instance_files = instance_files
        self._quarantine = quarantine
        self._heartbeat = heartbeat
        self._memory = memory
        self._count_replacement = count_replacement
        self._lock = -1
        self.intake = intake

    def begin(self, slot: int) -> None:
        """Begin in the worker, with its slot."""
        self.intake.worker_load.begin(slot)
        self._quarantine.begin(slot)
        self._heartbeat.begin()

    def last_progress(self, limit_s: float) -> float:
        """Return the time of the engine's last progress, in monotonic seconds."""
        return self._heartbeat.last_progress(limit_s)

    @property
    def stuck(self) -> bool:
        """Whether the engine computes beyond its time limit; no client waits for the result."""
        return self._heartbeat.stuck

    def must_exit(self) -> bool:
        """Return whether the worker has outgrown its memory and is the one to be replaced now.

        Call it after each request. Once true, it stays true. A lock lets only one worker of a
        release be replaced at a time; it is free when the process has ended.
        """
        if self._lock >= 0:
            return True
        if not self._memory.exceeded():
            return False
        try:
            descriptor = open_group_file(self._instance_files.replacing, os.O_RDWR)
        except OSError as error:
            _log.error("a worker that has outgrown its memory cannot be replaced: %s", error)
            return False
        with contextlib.suppress(OSError):
            if try_lock(descriptor):
                self._lock = descriptor
        if self._lock < 0:
            os.close(descriptor)
            return False
        _log.warning("the worker has outgrown its memory: it is replaced")
        self._count_replacement()
        return True

    def leave(self) -> None:
        """Record that the worker ends by itself, so that its end is not a crash."""
        self._quarantine.leave()
