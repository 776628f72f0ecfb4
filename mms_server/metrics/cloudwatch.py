"""The CloudWatch sink for the metrics of 0.4 (compatibility.md, 11)."""

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
    """Writes metrics to CloudWatch, by the AWS settings of the environment.

    While ``make_client`` fails, the metrics go to the log, as in 0.4.
    """

    def __init__(self, make_client: Callable[[], Any], host: str | None = None) -> None:
        self._make_client = make_client
        self._client: Any = None
        self._host = host or socket.gethostname()
        self._warned = False
        self._written = WrittenParts()

    def write(self, records: Sequence[Record], end: float) -> None:
        """Put the records; each request has time limits of seconds.

        Raises:
            SinkError: CloudWatch did not take the records.
        """
        if self._client is None and not self._connect():
            LogSink().write(records, end)
            return
        time = datetime.fromtimestamp(end, UTC)
        data = [self._datum(record, time) for record in records]
        try:
            for start in range(0, len(data), _BATCH):
                if not self._written.has(end, start):
                    batch = data[start : start + _BATCH]
                    self._client.put_metric_data(Namespace=NAMESPACE, MetricData=batch)
                    self._written.add(end, start)
        except Exception as error:
            cause = f"CloudWatch did not take the metrics: {type(error).__name__}: {error}."
            fix = (
                "allow this host's role cloudwatch:PutMetricData, and let the host reach "
                "CloudWatch."
            )
            raise SinkError(cause, fix=fix) from error

    def _connect(self) -> bool:
        try:
            self._client = self._make_client()
        except Exception as error:  # noqa: BLE001 - boto3 raises many kinds; metrics must go on
            if not self._warned:
                _log.warning(
                    "metrics go to the log, because a CloudWatch client cannot be made: %s: %s. "
                    "Fix: set AWS_DEFAULT_REGION, and give the host a role.",
                    type(error).__name__,
                    error,
                )
            self._warned = True
            return False
        self._warned = False
        return True

    def _datum(self, record: Record, time: datetime) -> dict[str, Any]:
        dimensions = [{"Name": "host", "Value": self._host}]
        if record.model:
            dimensions.append({"Name": "model_name", "Value": record.model})
        value: dict[str, Any] = {"Value": record.value}
        if not record.is_sum:
            statistic = record.statistic
            value = {
                "StatisticValues": {
                    "SampleCount": statistic.count,
                    "Sum": statistic.total,
                    "Minimum": statistic.minimum,
                    "Maximum": statistic.maximum,
                }
            }
        header = {"MetricName": record.metric, "Unit": record.unit, "Timestamp": time}
        return {**header, "Dimensions": dimensions, **value}


def make_client() -> Any:
    """Return a CloudWatch client with time limits.

    The region is the one of the settings; without one, on EC2, it is the instance's region.

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
