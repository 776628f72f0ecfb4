"""Write 0.4's metrics, minute by minute, for all models of a host or a standalone server.

One writer per host, and not one per worker as in 0.4: counts are sums over all workers.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

from mms_server.metrics import mms04_metrics, system_metrics
from mms_server.metrics.minute_stats import RING, Key, Statistic, end_of, minute_of
from mms_server.metrics.sinks import Sink, SinkError
from mms_server.metrics.system_metrics import HostUsage

_GRACE_S: Final = 2.0
"""What a process observed at the very end of a minute is in its file by then."""

_log = logging.getLogger(__name__)


class MetricsWriter:
    """Writes each minute once it is over; ``written`` is the last one that needs no writing.

    ``counted`` returns what was observed within a minute. A minute that cannot be written is tried
    again for as long as the processes' rings hold it, with one warning for the whole outage.
    """

    def __init__(
        self,
        counted: Callable[[int], Mapping[Key, Statistic]],
        usage: HostUsage,
        sink: Sink,
        *,
        written: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._counted = counted
        self._usage = usage
        self.sink = sink
        self._clock = clock
        self._outage = False
        last = minute_of(clock()) - 1
        self.written = last if written is None else min(written, last)

    def begin(self) -> None:
        """Write the first sample of the host at once, as 0.4 did."""
        self._usage.sample()
        now = self._clock()
        self._try(self._usage.minute(minute_of(now)), now)

    def step(self) -> None:
        """Sample the host, and write the minutes that are over."""
        self._usage.sample()
        now = self._clock()
        over = minute_of(now - _GRACE_S) - 1
        for number in range(max(self.written + 1, over - RING + 3), over + 1):
            seen = {**self._counted(number), **self._usage.minute(number)}
            if not self._try(seen, end_of(number)):
                return
            self.written = number

    def _try(self, seen: Mapping[Key, Statistic], end: float) -> bool:
        rows = mms04_metrics.records(seen)
        if not rows:
            return True
        try:
            self.sink.write(rows, end)
        except SinkError as error:
            if not self._outage:
                _log.warning("metrics wait to be written: %s", error)
            self._outage = True
            return False
        if self._outage:
            _log.info("metrics are written again.")
        self._outage = False
        return True


def run(step: Callable[[], None], wait: Callable[[float], object]) -> None:
    """Call ``step`` every few seconds until ``wait`` returns true; no error of it ends the loop."""
    told = ""
    while not wait(system_metrics.PERIOD_S):
        try:
            step()
            told = ""
        except Exception as error:  # noqa: BLE001 - metrics are no reason to end
            if repr(error) != told:
                _log.exception("metrics are not written; it is tried again every few seconds")
            told = repr(error)
