"""Whether a worker's engine is alive, proven by work: what its heartbeat says to the master.

The heartbeat carries the time of the last proof. So a worker whose engine hangs is ended by the
master as soon as the proof is older than the master's limit, whether or not the hang holds the
interpreter's lock.
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
"""Part of the limit after which an idle engine has to prove itself again."""

LONGEST_PROBE_S: Final = 1.0
"""A model whose forward takes longer is not run without need: a request would have to wait."""

# The first forward takes longer than those after it, and a probe must not look like a hang.
_FIRST_PROBE_OF_LIMIT: Final = 1 / 6

_log = logging.getLogger(__name__)


class EngineHeartbeat:
    """Proves that an engine is alive.

    ``sample`` is one real inference on the warm-up's input, ``sample_s`` the seconds it took then.
    One that takes too long is not run; then the thread alone is asked.
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
        self._proven = clock()
        self._probe: Any = None

    @property
    def stuck(self) -> bool:
        """Whether the engine is stuck."""
        return self._engine.stuck

    def begin(self) -> None:
        """Count from now: a worker calls it after the fork."""
        self._proven = self._clock()

    def last_progress(self, limit_s: float) -> float:
        """Return when the engine was last proven alive, in the clock's seconds.

        It never waits: an idle engine is asked to prove itself, and the next call knows. With a
        limit of 0 nobody looks, so it is not asked.
        """
        self._proven = max(self._proven, self._engine.computed_at or 0.0)
        idle = self._engine.idle and (self._probe is None or self._probe.ready())
        if limit_s and idle and self._clock() - self._proven > limit_s * PROBE_AFTER:
            self._probe = gevent.spawn(self._run, limit_s)
        return self._proven

    def _run(self, limit_s: float) -> None:
        if self._sample_s > limit_s * _FIRST_PROBE_OF_LIMIT:
            self._sample = _nothing
        try:
            began, ended = self._engine.probe(self._sample, limit_s)
        except MMSError as error:
            _log.error("the engine fails on its warm-up sample: %r", error.__cause__ or error)
            return
        self._proven = max(self._proven, ended)
        if ended - began > LONGEST_PROBE_S:
            self._sample = _nothing


def _nothing() -> None:
    """Prove the thread alone."""
