"""The sinks for 0.4's metrics: the log and CSV files (compatibility.md, 11).

The sink for CloudWatch is in :mod:`mms_server.metrics.cloudwatch`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

from mms_server.core.errors import MMSError
from mms_server.metrics.minute_stats import MINUTE_S, Statistic
from mms_server.metrics.mms04_metrics import Record

MAX_CSV_BYTES: Final = 4 * 1024 * 1024
"""The size at which a CSV file is renamed to ``.csv.1``: about three months of minutes."""

_SAFE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

_log = logging.getLogger("mms.metrics")


class SinkError(MMSError):
    """A minute could not be written. The caller can try again."""


class Sink(Protocol):
    """Writes the records of one minute, in the units of 0.4."""

    def write(self, records: Sequence[Record], end: float) -> None:
        """Write the records of the minute that ended at ``end``, in seconds since the epoch.

        Raises:
            SinkError: the records could not be written.
        """


class LogSink:
    """Logs one line per metric: the text of 0.4, followed by the model's name."""

    def write(self, records: Sequence[Record], end: float) -> None:
        """Log the records."""
        del end
        for record in records:
            model = f" (model {record.model})" if record.model else ""
            _log.info(
                "Metric %s for last %d seconds is %f%s",
                record.metric,
                MINUTE_S,
                record.value,
                model,
            )


class CsvSink:
    """Writes ``mms_<metric>.csv`` for the host, and ``<model>/mms_<metric>.csv`` for each model.

    The host's file of a model's metric has the sum over all models, as in 0.4.
    """

    def __init__(self, directory: Path, max_bytes: int = MAX_CSV_BYTES) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._written = WrittenParts()

    def write(self, records: Sequence[Record], end: float) -> None:
        """Append a line to the file of each record.

        Raises:
            SinkError: a file cannot be written.
        """
        time = datetime.fromtimestamp(end, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        try:
            for record in (*records, *sum_over_models(records)):
                if record.model and not _SAFE_NAME.fullmatch(record.model):
                    continue
                file = self._directory / record.model / f"mms_{record.metric}.csv"
                if not self._written.has(end, file):
                    value = int(record.value) if record.is_sum else record.value
                    self._append(file, f"{time},{value}\n")
                    self._written.add(end, file)
        except OSError as error:
            cause = f"{error.filename or self._directory} cannot be written: {error.strerror}."
            raise SinkError(cause, fix="free disk space, or make the path writable.") from error

    def _append(self, file: Path, line: str) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as stream:
            stream.write(line)
            full = stream.tell() >= self._max_bytes
        if full:
            file.replace(file.with_name(f"{file.name}.1"))


class WrittenParts:
    """The parts of one minute that are written, so that a retry does not write them twice."""

    def __init__(self) -> None:
        self._end = 0.0
        self._parts: set[object] = set()

    def has(self, end: float, part: object) -> bool:
        """Return whether ``part`` of the minute that ended at ``end`` is written."""
        return end == self._end and part in self._parts

    def add(self, end: float, part: object) -> None:
        """Remember that ``part`` of the minute that ended at ``end`` is written."""
        if end != self._end:
            self._end, self._parts = end, set()
        self._parts.add(part)


def sum_over_models(records: Sequence[Record]) -> list[Record]:
    """Return a record of each model metric, over all models."""
    totals: dict[str, Statistic] = {}
    for record in records:
        if record.model:
            before = totals.get(record.metric)
            totals[record.metric] = before + record.statistic if before else record.statistic
    return [Record(metric, "", statistic) for metric, statistic in totals.items()]
