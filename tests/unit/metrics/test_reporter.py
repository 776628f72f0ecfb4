"""The writer of 0.4's metrics, with its sinks for the log and for CSV files (section 11)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from mms_server.metrics import mms04_metrics, reporter, system_metrics
from mms_server.metrics.minute_stats import RING_MINUTES, Key, Statistic, end_of, minute_of
from mms_server.metrics.mms04_metrics import Record, make_records, observations
from mms_server.metrics.prediction_record import PredictionRecord
from mms_server.metrics.reporter import MetricsWriter
from mms_server.metrics.sink_selection import sink_for
from mms_server.metrics.sinks import CsvSink, LogSink, SinkError, sum_over_models
from mms_server.metrics.system_metrics import HostUsage

T0 = 6000.0


class Clock:
    def __init__(self, now: float = T0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class RecordingSink:
    """A sink that records what is written; it fails while ``fails`` is set."""

    def __init__(self) -> None:
        self.rows: list[tuple[float, dict[Key, float]]] = []
        self.fails = False

    def write(self, records: Sequence[Record], end: float) -> None:
        if self.fails:
            raise SinkError("no.", fix="wait.")
        self.rows.append((end, {(row.model, row.metric): row.value for row in records}))


class FakeMinutes:
    """Stands for the processes' ring buffers: statistics by minute."""

    def __init__(self) -> None:
        self.minutes: dict[int, dict[Key, Statistic]] = {}

    def __call__(self, number: int) -> Mapping[Key, Statistic]:
        return self.minutes.get(number, {})


def writer(
    clock: Clock, last_written: int | None = None, samples: list[float] | None = None
) -> tuple[MetricsWriter, FakeMinutes, RecordingSink]:
    minutes, sink, left = FakeMinutes(), RecordingSink(), list(samples or [])

    def measure() -> dict[str, float]:
        return {"CPUUtilization": left.pop(0)} if left else {}

    usage = HostUsage(clock, measure)
    return (
        MetricsWriter(minutes, usage, sink, last_written=last_written, clock=clock),
        minutes,
        sink,
    )


def predictions(number: float) -> dict[Key, Statistic]:
    return {("m", "PredictionTotal"): Statistic(number, number, 1, 1)}


def test_the_observations_of_an_answer() -> None:
    seconds = {"queue": 9.0, "preprocess": 0.001, "inference": 0.002, "postprocess": 0.003}
    assert dict(observations(PredictionRecord("m", 200, 0.5, seconds))) == {
        ("m", "PredictionTotal"): 1,
        ("m", "LatencyOverall"): 500,
        ("m", "LatencyPreprocess"): 1,
        ("m", "LatencyInference"): 2,
        ("m", "LatencyPostprocess"): 3,
    }


@pytest.mark.parametrize(
    ("status", "metric"),
    [
        (399, None),
        (400, "Prediction4XX"),
        (499, "Prediction4XX"),
        (500, "Prediction5XX"),
        (504, "Prediction5XX"),
        (599, "Prediction5XX"),
        (600, None),
    ],
)
def test_classes_of_answers(status: int, metric: str | None) -> None:
    found = {name for (_model, name), _value in observations(PredictionRecord("m", status, 0))}
    assert found == {"PredictionTotal", "LatencyOverall", *([metric] if metric else [])}


def test_names_and_units_are_the_contract_s() -> None:
    assert set(mms04_metrics.MODEL_METRICS) == {
        "PredictionTotal",
        "Prediction4XX",
        "Prediction5XX",
        "LatencyOverall",
        "LatencyInference",
        "LatencyPreprocess",
        "LatencyPostprocess",
    }
    assert {name: mms04_metrics.UNITS[name] for name in mms04_metrics.HOST_METRICS} == {
        "PingTotal": "Count",
        "APIDescriptionTotal": "Percent",
        "CPUUtilization": "Percent",
        "MemoryUtilization": "Percent",
        "DiskUtilization": "Percent",
        "MemoryUsed": "Megabytes",
        "MemoryAvailable": "Megabytes",
        "DiskUsed": "Gigabytes",
        "DiskAvailable": "Gigabytes",
    }
    assert mms04_metrics.UNITS["LatencyOverall"] == "Milliseconds"
    assert mms04_metrics.UNITS["Prediction4XX"] == "Count"


def test_sums_and_averages() -> None:
    seen = Statistic(4, 10, 1, 5)
    rows = make_records(
        {("m", "LatencyOverall"): seen, ("m", "PredictionTotal"): seen, ("m", "X"): seen}
    )
    assert [(row.metric, row.value) for row in rows] == [
        ("PredictionTotal", 10),
        ("LatencyOverall", 2.5),
    ]


def test_the_host_is_measured() -> None:
    found = system_metrics.measure()
    assert set(found) == {n for n in mms04_metrics.HOST_METRICS if not n.endswith("Total")}
    assert 0 <= found["MemoryUtilization"] <= 100
    assert found["DiskUsed"] > 0


def test_a_minute_is_written_once_and_when_it_is_over() -> None:
    clock = Clock()
    metrics_writer, minutes, sink = writer(clock)
    minutes.minutes[100] = predictions(3)
    for clock.now in (T0 + 30, T0 + 59.9, T0 + 60, T0 + 61.9):
        metrics_writer.step()
    assert sink.rows == []
    for clock.now in (T0 + 62, T0 + 67, T0 + 119):
        metrics_writer.step()
    assert sink.rows == [(T0 + 60, {("m", "PredictionTotal"): 3})]


def test_nothing_is_written_if_nothing_was_counted() -> None:
    clock = Clock()
    metrics_writer, _minutes, sink = writer(clock)
    clock.now += 302
    metrics_writer.step()
    assert sink.rows == []
    assert metrics_writer.last_written == 104


def test_the_host_s_samples_are_averaged_and_the_first_is_written_at_once() -> None:
    clock = Clock(T0 + 1)
    metrics_writer, _minutes, sink = writer(clock, samples=[10.0, 20.0, 60.0])
    metrics_writer.write_first_sample()
    assert sink.rows == [(T0 + 1, {("", "CPUUtilization"): 10})]
    for clock.now in (T0 + 6, T0 + 11, T0 + 62):
        metrics_writer.step()
    assert sink.rows[1:] == [(T0 + 60, {("", "CPUUtilization"): 30})]


def test_an_outage_loses_no_minute_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    metrics_writer, minutes, sink = writer(clock)
    sink.fails = True
    for number in range(100, 105):
        minutes.minutes[number] = predictions(number)
    with caplog.at_level(logging.INFO):
        for _ in range(60):
            clock.now += 5
            metrics_writer.step()
        sink.fails = False
        clock.now += 5
        metrics_writer.step()
    assert [row[1]["m", "PredictionTotal"] for row in sink.rows] == [100, 101, 102, 103, 104]
    levels = [record.levelname for record in caplog.records]
    assert levels == ["WARNING", "INFO"]


def test_a_restarted_writer_writes_the_minutes_of_the_ring_buffers() -> None:
    clock = Clock(T0 + 50 * 60 + 5)
    metrics_writer, minutes, sink = writer(clock, last_written=100)
    for number in range(100, 150):
        minutes.minutes[number] = predictions(number)
    metrics_writer.step()
    values = [row[1]["m", "PredictionTotal"] for row in sink.rows]
    assert values == list(range(149 - RING_MINUTES + 3, 150))


def test_a_clock_that_was_set_back_writes_nothing_twice() -> None:
    clock = Clock()
    metrics_writer, minutes, sink = writer(clock, last_written=10**9)
    minutes.minutes[100] = predictions(1)
    clock.now += 70
    metrics_writer.step()
    clock.now -= 3600
    metrics_writer.step()
    assert len(sink.rows) == 1


def test_a_clock_that_was_a_day_ahead_does_not_stop_the_metrics_for_a_day() -> None:
    clock = Clock()
    metrics_writer, minutes, sink = writer(clock)
    clock.now += 86_400
    metrics_writer.step()
    clock.now -= 86_400
    metrics_writer.step()
    minutes.minutes[minute_of(T0)] = predictions(1)
    clock.now += 63
    metrics_writer.step()
    assert [end for end, _ in sink.rows] == [end_of(minute_of(T0))]


def test_minutes_of_the_future_are_dropped_after_the_clock_was_set_back() -> None:
    clock = Clock(T0 + 86_400)
    usage = HostUsage(clock, lambda: {"CPUUtilization": 1.0})
    usage.sample()
    clock.now = T0
    usage.sample()
    assert usage.minute(minute_of(T0 + 86_400)) == {}
    assert usage.minute(minute_of(T0)) != {}


def test_no_error_ends_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []

    def step() -> None:
        calls.append(1)
        if len(calls) != 3:
            raise ValueError("strange")

    reporter.run(step, lambda _seconds: len(calls) == 5)
    assert len(calls) == 5
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


ROWS = make_records(
    {
        ("a", "PredictionTotal"): Statistic(3, 3, 1, 1),
        ("b", "PredictionTotal"): Statistic(1, 1, 1, 1),
        ("a", "LatencyOverall"): Statistic(3, 30, 5, 20),
        ("b", "LatencyOverall"): Statistic(1, 2, 2, 2),
        ("", "MemoryUsed"): Statistic(2, 5, 2, 3),
    }
)


def test_lines_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        LogSink().write(ROWS, T0)
    assert [record.getMessage() for record in caplog.records] == [
        "Metric MemoryUsed for last 60 seconds is 2.500000",
        "Metric PredictionTotal for last 60 seconds is 3.000000 (model a)",
        "Metric LatencyOverall for last 60 seconds is 10.000000 (model a)",
        "Metric PredictionTotal for last 60 seconds is 1.000000 (model b)",
        "Metric LatencyOverall for last 60 seconds is 2.000000 (model b)",
    ]


def test_all_models_together() -> None:
    assert {row.metric: row.value for row in sum_over_models(ROWS)} == {
        "PredictionTotal": 4,
        "LatencyOverall": 8,
    }


def test_csv_files(tmp_path: Path) -> None:
    sink = CsvSink(tmp_path / "metrics")
    sink.write(ROWS, 1522540800.0)
    sink.write(ROWS[:1], 1522540860.0)
    found = {
        str(path.relative_to(tmp_path)): path.read_text()
        for path in sorted(tmp_path.rglob("*.csv"))
    }
    time = "2018-04-01 00:00:00Z"
    assert found == {
        "metrics/mms_PredictionTotal.csv": f"{time},4\n",
        "metrics/mms_LatencyOverall.csv": f"{time},8.0\n",
        "metrics/mms_MemoryUsed.csv": f"{time},2.5\n2018-04-01 00:01:00Z,2.5\n",
        "metrics/a/mms_PredictionTotal.csv": f"{time},3\n",
        "metrics/a/mms_LatencyOverall.csv": f"{time},10.0\n",
        "metrics/b/mms_PredictionTotal.csv": f"{time},1\n",
        "metrics/b/mms_LatencyOverall.csv": f"{time},2.0\n",
    }


def test_csv_files_are_of_bounded_size(tmp_path: Path) -> None:
    sink = CsvSink(tmp_path, max_bytes=50)
    for number in range(20):
        sink.write(ROWS[:1], T0 + number * 60)
        assert all(path.stat().st_size < 100 for path in tmp_path.iterdir())
    names = {path.name for path in tmp_path.iterdir()}
    assert names <= {"mms_MemoryUsed.csv", "mms_MemoryUsed.csv.1"}


def test_a_csv_file_that_cannot_be_written_is_tried_again_and_the_others_are_not(
    tmp_path: Path,
) -> None:
    sink = CsvSink(tmp_path)
    (tmp_path / "a").write_text("in the way")
    with pytest.raises(SinkError, match="cannot be written: "):
        sink.write(ROWS, T0)
    assert len((tmp_path / "mms_MemoryUsed.csv").read_text().splitlines()) == 1
    (tmp_path / "a").unlink()
    sink.write(ROWS, T0)
    assert len((tmp_path / "mms_MemoryUsed.csv").read_text().splitlines()) == 1
    assert len((tmp_path / "a/mms_PredictionTotal.csv").read_text().splitlines()) == 1


def test_a_model_name_cannot_leave_the_directory(tmp_path: Path) -> None:
    seen = Statistic(1, 1, 1, 1)
    rows = make_records({(name, "PredictionTotal"): seen for name in ("../x", "..", "a/b", "good")})
    CsvSink(tmp_path / "metrics").write(rows, T0)
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.csv")}
    assert found == {"metrics/mms_PredictionTotal.csv", "metrics/good/mms_PredictionTotal.csv"}


def test_the_sinks_of_the_flag(tmp_path: Path) -> None:
    kinds = [type(sink_for(word, tmp_path)).__name__ for word in ("log", "csv", "cloudwatch")]
    assert kinds == ["LogSink", "CsvSink", "CloudWatchSink"]
