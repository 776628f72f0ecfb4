"""Where 0.4's metrics are written to: the log, CSV files or CloudWatch (contract, section 11)."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

from mms_server.contract_metrics import Record
from mms_server.errors import MMSError
from mms_server.minutes import LENGTH_S, Statistic

NAMESPACE: Final = "MXNetModelServer"
MAX_CSV_BYTES: Final = 4 * 1024 * 1024
"""From this size on a CSV file is renamed to ``.csv.1``: about three months of minutes."""

_BATCH: Final = 500
_CONNECT_S, _READ_S, _ATTEMPTS = 3, 10, 2
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
        self._done = _Done()

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


class _Done:
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


class CloudWatchSink:
    """CloudWatch, by the AWS settings of the environment.

    A client that cannot be made falls back to the log, as in 0.4.
    """

    def __init__(self, client: Callable[[], Any], host: str | None = None) -> None:
        self._make = client
        self._client: Any = None
        self._host = host or socket.gethostname()
        self._told = False
        self._done = _Done()

    def write(self, records: Sequence[Record], end: float) -> None:
        """Put the records; nothing waits longer than some seconds.

        Raises:
            SinkError: CloudWatch did not take them.
        """
        if self._client is None and not self._connect():
            LogSink().write(records, end)
            return
        time = datetime.fromtimestamp(end, UTC)
        data = [self._datum(row, time) for row in records]
        try:
            for start in range(0, len(data), _BATCH):
                if not self._done.has(end, start):
                    part = data[start : start + _BATCH]
                    self._client.put_metric_data(Namespace=NAMESPACE, MetricData=part)
                    self._done.note(end, start)
        except Exception as error:
            cause = f"CloudWatch did not take the metrics: {type(error).__name__}: {error}."
            fix = "allow cloudwatch:PutMetricData to this host's role, and let it reach CloudWatch."
            raise SinkError(cause, fix=fix) from error

    def _connect(self) -> bool:
        try:
            self._client = self._make()
        except Exception as error:  # noqa: BLE001 - boto3 raises many kinds; metrics must go on
            if not self._told:
                _log.warning(
                    "metrics go to the log, since there is no client of CloudWatch: %s: %s. Fix: "
                    "set AWS_DEFAULT_REGION, and give the host a role.",
                    type(error).__name__,
                    error,
                )
            self._told = True
            return False
        self._told = False
        return True

    def _datum(self, row: Record, time: datetime) -> dict[str, Any]:
        dimensions = [{"Name": "host", "Value": self._host}]
        if row.model:
            dimensions.append({"Name": "model_name", "Value": row.model})
        figure: dict[str, Any] = {"Value": row.value}
        if not row.is_sum:
            seen = row.seen
            figure = {
                "StatisticValues": {
                    "SampleCount": seen.count,
                    "Sum": seen.total,
                    "Minimum": seen.least,
                    "Maximum": seen.greatest,
                }
            }
        about = {"MetricName": row.metric, "Unit": row.unit, "Timestamp": time}
        return {**about, "Dimensions": dimensions, **figure}


def cloudwatch_client() -> Any:
    """Return a client with time limits; on EC2 the region is the instance's, if none is set.

    Raises:
        botocore.exceptions.BotoCoreError: there is no region, or a setting is wrong.
    """
    # Only who writes to CloudWatch pays for the import.
    import boto3  # noqa: PLC0415
    import botocore.session  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415
    from botocore.utils import IMDSRegionProvider  # noqa: PLC0415

    core = botocore.session.get_session()
    session = boto3.Session(botocore_session=core)
    region = session.region_name or IMDSRegionProvider(core).provide()
    limits = Config(
        connect_timeout=_CONNECT_S, read_timeout=_READ_S, retries={"total_max_attempts": _ATTEMPTS}
    )
    return session.client("cloudwatch", region_name=region, config=limits)


def sink_for(write_to: str, csv_directory: Path) -> Sink:
    """Return the sink that a value of ``--metrics-write-to`` names."""
    if write_to == "csv":
        return CsvSink(csv_directory)
    if write_to == "cloudwatch":
        return CloudWatchSink(cloudwatch_client)
    return LogSink()
