"""Where 0.4's metrics are written to: the log, CSV files or CloudWatch (contract, section 11)."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

from mms_server.core.errors import MMSError
from mms_server.metrics.minute_stats import LENGTH_S, Statistic
from mms_server.metrics.mms04_metrics import Record

MAX_CSV_BYTES: Final = 4 * 1024 * 1024
"""From this size on a CSV file is renamed to ``.csv.1``: about three months of minutes."""

_SAFE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

_log = logging.getLogger("mms.metrics")


class SinkError(MMSError):
    """A minute could not be written; it can be tried again."""


class Sink(Protocol):
    """Writes the records of one minute; the metrics' units are those of the contract."""

    def write(self, records: Sequence[Record], end: float) -> None:
        """Write the records of the minute that ended at ``end``, in seconds since the epoch.

        Raises:
            SinkError: they could not be written.
        """


class LogSink:
    """One line per metric; a model's name stands behind 0.4's words."""

    def write(self, records: Sequence[Record], end: float) -> None:
        """Write the records."""
        del end
        for row in records:
            model = f" (model {row.model})" if row.model else ""
            _log.info(
                "Metric %s for last %d seconds is %f%s", row.metric, LENGTH_S, row.value, model
            )


class CsvSink:
    """``mms_<metric>.csv`` for the host, and in a directory ``<model>`` for each model.

    The host's file of a model's metric holds all models together, as 0.4's did.
    """

    def __init__(self, directory: Path, max_bytes: int = MAX_CSV_BYTES) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._done = WrittenParts()

    def write(self, records: Sequence[Record], end: float) -> None:
        """Append a line to each file.

        Raises:
            SinkError: a file cannot be written.
        """
        time = datetime.fromtimestamp(end, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        try:
            for row in (*records, *together(records)):
                if row.model and not _SAFE.fullmatch(row.model):
                    continue
                file = self._directory / row.model / f"mms_{row.metric}.csv"
                if not self._done.has(end, file):
                    value = int(row.value) if row.is_sum else row.value
                    self._append(file, f"{time},{value}\n")
                    self._done.note(end, file)
        except OSError as error:
            cause = f"{error.filename or self._directory} cannot be written: {error.strerror}."
            raise SinkError(cause, fix="make room, or make it writable.") from error

    def _append(self, file: Path, line: str) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as stream:
            stream.write(line)
            full = stream.tell() >= self._max_bytes
        if full:
            file.replace(file.with_name(f"{file.name}.1"))


class WrittenParts:
    """What of one minute is written already: what is tried again must not count twice."""

    def __init__(self) -> None:
        self._end = 0.0
        self._done: set[object] = set()

    def has(self, end: float, thing: object) -> bool:
        """Return whether ``thing`` of the minute that ended at ``end`` is written."""
        return end == self._end and thing in self._done

    def note(self, end: float, thing: object) -> None:
        """Remember that it is."""
        if end != self._end:
            self._end, self._done = end, set()
        self._done.add(thing)


def together(records: Sequence[Record]) -> list[Record]:
    """Return the metrics of models, over all models."""
    total: dict[str, Statistic] = {}
    for row in records:
        if row.model:
            before = total.get(row.metric)
            total[row.metric] = before + row.seen if before else row.seen
    return [Record(metric, "", seen) for metric, seen in total.items()]
