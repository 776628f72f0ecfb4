"""0.4's metrics in CloudWatch, simulated by moto (compatibility.md, 11)."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError, NoRegionError
from moto import mock_aws

from mms_server.metrics import cloudwatch
from mms_server.metrics.cloudwatch import NAMESPACE, CloudWatchSink
from mms_server.metrics.minute_stats import Statistic
from mms_server.metrics.mms04_metrics import make_records
from mms_server.metrics.sinks import SinkError

ROWS = make_records(
    {
        ("a", "PredictionTotal"): Statistic(3, 3, 1, 1),
        ("a", "LatencyOverall"): Statistic(3, 30, 5, 20),
        ("", "MemoryUsed"): Statistic(2, 5, 2, 3),
        ("", "APIDescriptionTotal"): Statistic(7, 7, 1, 1),
    }
)
HOST = {"Name": "host", "Value": "h-1"}


@pytest.fixture(autouse=True)
def _aws(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def aws() -> Iterator[Any]:
    with mock_aws():
        yield boto3.client("cloudwatch")


def test_dimensions_units_and_statistic_sets(aws: Any) -> None:
    now = time.time() // 60 * 60
    CloudWatchSink(cloudwatch.make_client, "h-1").write(ROWS, now)
    found = {
        row["MetricName"]: row["Dimensions"]
        for row in aws.list_metrics(Namespace=NAMESPACE)["Metrics"]
    }
    model = {"Name": "model_name", "Value": "a"}
    assert found == {
        "PredictionTotal": [HOST, model],
        "LatencyOverall": [HOST, model],
        "MemoryUsed": [HOST],
        "APIDescriptionTotal": [HOST],
    }
    wanted = {
        "PredictionTotal": ("Count", {"Sum": 3.0}),
        "LatencyOverall": (
            "Milliseconds",
            {"SampleCount": 3.0, "Sum": 30.0, "Minimum": 5.0, "Maximum": 20.0, "Average": 10.0},
        ),
        "MemoryUsed": ("Megabytes", {"SampleCount": 2.0, "Minimum": 2.0, "Maximum": 3.0}),
        "APIDescriptionTotal": ("Percent", {"Sum": 7.0}),
    }
    for name, (unit, statistics) in wanted.items():
        (point,) = aws.get_metric_statistics(
            Namespace=NAMESPACE,
            MetricName=name,
            Dimensions=found[name],
            StartTime=datetime.fromtimestamp(now, UTC) - timedelta(minutes=5),
            EndTime=datetime.fromtimestamp(now, UTC) + timedelta(minutes=5),
            Period=60,
            Statistics=["SampleCount", "Sum", "Average", "Minimum", "Maximum"],
        )["Datapoints"]
        assert point["Unit"] == unit, name
        assert {key: point[key] for key in statistics} == statistics, name


class Client:
    """A client that records what it is sent; the calls with the numbers ``failing`` fail."""

    def __init__(self, *failing: int) -> None:
        self.failing = failing
        self.calls = 0
        self.data: list[dict[str, Any]] = []

    def put_metric_data(self, *, Namespace: str, MetricData: list[dict[str, Any]]) -> None:  # noqa: N803
        self.calls += 1
        if self.calls in self.failing:
            raise EndpointConnectionError(endpoint_url="https://monitoring.test")
        assert Namespace == "MXNetModelServer"
        assert len(MetricData) <= 1000
        self.data += MetricData


def test_many_metrics_go_in_batches_and_only_missing_ones_are_sent_again() -> None:
    client = Client(2)
    seen = Statistic(1, 1, 1, 1)
    rows = make_records({(f"m{number}", "PredictionTotal"): seen for number in range(1201)})
    sink = CloudWatchSink(lambda: client, "h-1")
    with pytest.raises(SinkError, match="did not take the metrics: EndpointConnectionError"):
        sink.write(rows, 60.0)
    assert len(client.data) == 500
    sink.write(rows, 60.0)
    assert len(client.data) == 1201
    assert len({datum["Dimensions"][1]["Value"] for datum in client.data}) == 1201
    sink.write(rows, 120.0)
    assert len(client.data) == 2402


def test_without_a_client_the_log_has_the_metrics_and_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = Client()
    outcomes: list[Any] = [NoRegionError(), NoRegionError(), client]

    def make() -> Any:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    sink = CloudWatchSink(make, "h-1")
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            sink.write(ROWS, 60.0)
    lines = [record.getMessage() for record in caplog.records]
    warnings = [line for line in lines if "a CloudWatch client cannot be made" in line]
    assert len(warnings) == 1
    assert "AWS_DEFAULT_REGION" in warnings[0]
    assert len(lines) == 1 + 2 * len(ROWS)
    assert len(client.data) == len(ROWS)


def test_no_region_is_an_error_of_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(NoRegionError):
        cloudwatch.make_client()


def test_a_silent_server_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        monkeypatch.setattr(cloudwatch, "_READ_S", 0.2)
        sink = CloudWatchSink(cloudwatch.make_client, "h-1")
        started = time.monotonic()
        with pytest.raises(SinkError, match="ReadTimeoutError"):
            sink.write(ROWS, 60.0)
        assert time.monotonic() - started < 15
