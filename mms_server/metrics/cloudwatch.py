"""0.4's metrics in CloudWatch (contract, section 11)."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import boto3
import botocore.session
from botocore.config import Config
from botocore.utils import IMDSRegionProvider

from mms_server.metrics.mms04_metrics import Record
from mms_server.metrics.sinks import LogSink, SinkError, WrittenParts

NAMESPACE: Final = "MXNetModelServer"

_BATCH: Final = 500
_CONNECT_S, _READ_S, _ATTEMPTS = 3, 10, 2

_log = logging.getLogger("mms.metrics")


class CloudWatchSink:
    """CloudWatch, by the AWS settings of the environment.

    A client that cannot be made falls back to the log, as in 0.4.
    """

    def __init__(self, client: Callable[[], Any], host: str | None = None) -> None:
        self._make = client
        self._client: Any = None
        self._host = host or socket.gethostname()
        self._told = False
        self._done = WrittenParts()

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


def client() -> Any:
    """Return a client with time limits; on EC2 the region is the instance's, if none is set.

    Raises:
        botocore.exceptions.BotoCoreError: there is no region, or a setting is wrong.
    """
    core = botocore.session.get_session()
    session = boto3.Session(botocore_session=core)
    region = session.region_name or IMDSRegionProvider(core).provide()
    limits = Config(
        connect_timeout=_CONNECT_S, read_timeout=_READ_S, retries={"total_max_attempts": _ATTEMPTS}
    )
    return session.client("cloudwatch", region_name=region, config=limits)
