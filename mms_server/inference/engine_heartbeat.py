"""The progress that a worker's heartbeat reports to the master: when its engine last did work.

The master kills a worker whose last progress is older than the master's limit. So a worker with a
hanging engine is killed, whether or not the hang holds Python's global interpreter lock. An idle
engine proves that it works by a probe: a forward on the input of the warm-up.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Final

import gevent

from mms_server.core.errors import MMSError
from mms_server.inference.executor import Engine

PROBE_AFTER: Final = 1 / 3
"""Part of the master's limit after which an idle engine is probed."""

MAX_PROBE_S: Final = 1.0
"""If a probe takes longer, later probes run no forward: requests would have to wait for it."""

# Limit for the forward of the first probe, as part of the master's limit. A worker's first forward
# is slower than later ones, and a probe must not look like a hang.
_MAX_FIRST_PROBE: Final = 1 / 6

_log = logging.getLogger(__name__)


class EngineHeartbeat:
    """Finds out when an engine last made progress, and probes it while it is idle.

    ``sample`` runs a forward on the input of the warm-up, which took ``sample_s`` seconds. If that
    is too long for a probe, the probe only runs an empty function in the engine's thread.
    """

    def __init__(
        self,
        engine: Engine,
        sample: Callable[[], Any],
        sample_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._sample = sample
        self._sample_s = sample_s
        self._clock = clock
        self._progress_at = clock()
        self._probe: Any = None

    @property
    def stuck(self) -> bool:
        """Whether work that passed its time limit is still running in the engine."""
        return self._engine.stuck

    def begin(self) -> None:
        """Count the time from now on; a worker calls it after the fork."""
        self._progress_at = self._clock()

    def last_progress(self, limit_s: float) -> float:
        """Return when the engine last made progress, in the clock's seconds.

        The call does not wait. If the engine is idle, it may start a probe; later calls return its
        result. ``limit_s`` is the master's limit. With 0 the master does not check the progress,
        and the engine is not probed.
        """
        self._progress_at = max(self._progress_at, self._engine.last_progress_at or 0.0)
        idle = self._engine.idle and (self._probe is None or self._probe.ready())
        if limit_s and idle and self._clock() - self._progress_at > limit_s * PROBE_AFTER:
            self._probe = gevent.spawn(self._run_probe, limit_s)
        return self._progress_at

    def _run_probe(self, limit_s: float) -> None:
        if self._sample_s > limit_s * _MAX_FIRST_PROBE:
            self._sample = _do_nothing
        try:
            began, ended = self._engine.probe(self._sample, limit_s)
        except MMSError as error:
            _log.error("the engine fails on its warm-up sample: %r", error.__cause__ or error)
            return
        self._progress_at = max(self._progress_at, ended)
        if ended - began > MAX_PROBE_S:
            self._sample = _do_nothing


def _do_nothing() -> None:
    """Do nothing: such a probe only shows that the engine's thread runs."""
