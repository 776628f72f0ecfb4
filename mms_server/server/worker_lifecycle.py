"""What a release's worker does beside answering: prove its engine alive, watch its memory."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass

from mms_server.crashes.quarantine import ReleaseGuard
from mms_server.host.instance_files import Places, open_shared
from mms_server.host.worker_memory import Memory
from mms_server.inference.batching.batch_delay import Gathering
from mms_server.inference.engine_heartbeat import Pulse
from mms_server.overload.backlog_limit import Room
from mms_server.overload.worker_load import Hands

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Taking:
    """How many requests a worker takes at a time, where it says that, how many may wait.

    ``gathering`` is the wait for a round to fill.
    """

    hands: Hands
    most: int
    room: Room
    gathering: Gathering


class WorkerLife:
    """One worker's life, made with its application; it begins after the fork."""

    def __init__(
        self,
        places: Places,
        guard: ReleaseGuard,
        pulse: Pulse,
        memory: Memory,
        replaced: Callable[[], None],
        *,
        taking: Taking,
    ) -> None:
        self._places = places
        self._guard = guard
        self._pulse = pulse
        self._memory = memory
        self._replaced = replaced
        self._lock = -1
        self.taking = taking

    def begin(self, slot: int) -> None:
        """Work under this slot from now on."""
        self.taking.hands.begin(slot)
        self._guard.begin(slot)
        self._pulse.begin()

    def proof(self, limit_s: float) -> float:
        """Return when the engine was last proven alive, in monotonic seconds."""
        return self._pulse.proof(limit_s)

    @property
    def stuck(self) -> bool:
        """Whether the engine computes beyond its time limit, for nobody."""
        return self._pulse.stuck

    def has_to_go(self) -> bool:
        """Return whether the worker has outgrown its memory, and it is its turn to be replaced.

        From then on the answer is yes.

        Call it after each request. Only one worker of a release goes at a time: its lock is free
        when its process has ended.
        """
        if self._lock >= 0:
            return True
        if not self._memory.exceeded():
            return False
        try:
            descriptor = open_shared(self._places.replacing, os.O_RDWR)
        except OSError as error:
            _log.error("a worker that has outgrown its memory cannot be replaced: %s", error)
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        self._lock = descriptor
        _log.warning("the worker has outgrown its memory: it is replaced")
        self._replaced()
        return True

    def leave(self) -> None:
        """Say that the worker ends by its own will."""
        self._guard.leave()
