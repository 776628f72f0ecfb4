"""The writer of 0.4's metrics: every minute, for all models of a host or a standalone server.

There is one writer per host, not one per worker as in 0.4: counts are sums over all workers.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

from mms_server.metrics import mms04_metrics, system_metrics
from mms_server.metrics.minute_stats import RING_MINUTES, Key, Statistic, end_of, minute_of
from mms_server.metrics.sinks import Sink, SinkError
from mms_server.metrics.system_metrics import HostUsage

_GRACE_S: Final = 2.0
"""The wait after the end of a minute: by then its last observations are in the files."""

_log = logging.getLogger(__name__)


class MetricsWriter:
    """Writes each minute after its end; ``last_written`` is the newest minute that is written.

    ``read_minute`` returns the statistics of a minute. A minute that cannot be written is tried
    again while the processes' ring buffers have it. One warning is logged for the whole outage.
    """

    def __init__(
        self,
        read_minute: Callable[[int], Mapping[Key, Statistic]],
        usage: HostUsage,
        sink: Sink,
        *,
        last_written: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._read_minute = read_minute
        self._usage = usage
        self.sink = sink
        self._clock = clock
        self._outage = False
        previous = minute_of(clock()) - 1
        self.last_written = previous if last_written is None else min(last_written, previous)

    def write_first_sample(self) -> None:
        """Write the first sample of the host at once, as 0.4 did."""
        self._usage.sample()
        now = self._clock()
        self._write(self._usage.minute(minute_of(now)), now)

    def step(self) -> None:
        """Sample the host, and write the minutes that have ended."""
        self._usage.sample()
        now = self._clock()
        last = minute_of(now - _GRACE_S) - 1
        if self.last_written > last + RING_MINUTES:
            # The clock was far in the future and has been set back: do not wait until then.
            self.last_written = last
        for number in range(max(self.last_written + 1, last - RING_MINUTES + 3), last + 1):
            statistics = {**self._read_minute(number), **self._usage.minute(number)}
            if not self._write(statistics, end_of(number)):
                return
            self.last_written = number

    def _write(self, statistics: Mapping[Key, Statistic], end: float) -> bool:
        records = mms04_metrics.make_records(statistics)
        if not records:
            return True
        try:
            self.sink.write(records, end)
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
    """Call ``step`` every 5 seconds until ``wait`` returns true. An error of it is logged once."""
    logged = ""
    while not wait(system_metrics.PERIOD_S):
        try:
            step()
            logged = ""
        except Exception as error:  # noqa: BLE001 - an error in metrics must not end the process
            if repr(error) != logged:
                seconds = system_metrics.PERIOD_S
                _log.exception("metrics are not written; next attempt in %.0f s", seconds)
            logged = repr(error)
