"""The counters of the control application: pings and API descriptions."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter

from mms_server.metrics import mms04_metrics
from mms_server.metrics.minute_stats import MinuteStats

_log = logging.getLogger(__name__)


class HostCounts:
    """Counts in the files that :func:`mms_server.metrics.multiprocess.configure` chose."""

    def __init__(self, directory: Path) -> None:
        registry = CollectorRegistry()
        names = (mms04_metrics.PINGS, mms04_metrics.DESCRIPTIONS)
        self._minutes = MinuteStats(directory, "host", [("", name) for name in names])
        self._error_logged = False
        self._counters: Final = {
            mms04_metrics.PINGS: Counter(
                "mms_pings", "Requests to / and /ping.", registry=registry
            ),
            mms04_metrics.DESCRIPTIONS: Counter(
                "mms_api_descriptions", "Requests to /api-description.", registry=registry
            ),
        }

    def count(self, name: str) -> None:
        """Count one request; ``name`` is the name of the metric in 0.4."""
        self._counters[name].inc()
        try:
            self._minutes.add(("", name), 1.0)
        except OSError as error:
            if not self._error_logged:
                _log.error("%s is not counted by the minute: %s", name, error)
            self._error_logged = True
