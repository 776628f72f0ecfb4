"""Tests of metrics of real workers, through their crashes and restarts."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mms_server.core.paths import Layout
from mms_server.metrics import minute_stats, mms04_metrics
from mms_server.metrics.minute_stats import Statistic, minute_of
from mms_server.metrics.multiprocess_files import MetricsFiles
from mms_server.server import control_app
from tests.fixtures.servers import Server, release_server, standalone, until, write_release

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(text: str) -> Samples:
    return {
        (each.name, tuple(sorted(each.labels.items()))): each.value
        for family in text_string_to_metric_families(text)
        for each in family.samples
    }


def scrape(server: Server) -> Samples:
    answer = server.request("GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    return samples(answer.body.decode())


def value(found: Samples, name: str, **labels: str) -> float:
    return found.get((name, tuple(sorted(labels.items()))), 0.0)


@pytest.fixture(scope="module")
def two(
    tmp_path_factory: pytest.TempPathFactory, archives: dict[str, Path]
) -> Iterator[tuple[Server, Path]]:
    directory = tmp_path_factory.mktemp("counted")
    served = {"first": archives["scripted"], "second": archives["pair"]}
    with standalone(directory, served, "--workers=2", "--metrics-write-to=csv") as server:
        until(lambda: len(server.workers()) == 2)
        yield server, directory


def test_predictions_are_counted_by_endpoint_name_over_all_workers(
    two: tuple[Server, Path],
) -> None:
    server, _directory = two
    before = scrape(server)
    for _ in range(10):
        assert server.predict("first", {"order": b"[[0]]"}).status == 200
    assert server.predict("first", {"order": b"[[-1]]"}).status == 500
    assert server.predict("first", {"other": b"[[0]]"}).status == 400
    rows = b"[[1,2,3],[1,2,3],[1,2,3]]"
    assert server.predict("second", {"left": rows, "right": rows}).status == 200
    after = scrape(server)

    def grown(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    assert grown("mms_predictions_total", model="first", code="200") == 10
    assert grown("mms_predictions_total", model="first", code="500") == 1
    assert grown("mms_predictions_total", model="first", code="400") == 1
    assert grown("mms_predictions_total", model="second", code="200") == 1
    assert grown("mms_prediction_seconds_count", model="first") == 12
    for stage, count in {"queue": 11, "preprocess": 11, "inference": 11, "postprocess": 10}.items():
        name = "mms_prediction_stage_seconds_count"
        assert grown(name, model="first", stage=stage) == count
    assert grown("mms_prediction_batch_size_sum", model="second") == 3
    assert grown("mms_prediction_batch_size_count", model="first") == 10
    assert value(after, "mms_workers", model="first") == 2
    assert value(after, "mms_model_ready", model="second") == 1
    assert value(after, "mms_engine_info", engine="mxnet", version="1.9.1") == 1


def test_pings_and_descriptions_are_counted(two: tuple[Server, Path]) -> None:
    server, _directory = two
    before = scrape(server)
    for path in ("/ping", "/", "/ping", "/api-description"):
        server.request("GET", path)
    after = scrape(server)
    for name, count in {"mms_pings_total": 3, "mms_api_descriptions_total": 1}.items():
        assert value(after, name) - value(before, name) == count


def test_requests_in_flight_are_counted_and_end_with_their_worker(two: tuple[Server, Path]) -> None:
    server, _directory = two
    row = b"[[1,2,3]]"
    for model, fields in ("first", {"order": b"[[0]]"}), ("second", {"left": row, "right": row}):
        assert server.predict(model, fields).status == 200
    restarts = value(scrape(server), "mms_worker_restarts_total", model="first")
    before = scrape(server)

    def ask() -> None:
        try:
            server.predict("first", {"order": b"[[20]]"})
        except OSError:
            return

    asking = threading.Thread(target=ask)
    asking.start()
    until(lambda: value(scrape(server), "mms_predictions_in_flight", model="first") == 1)
    for worker in server.workers():
        os.kill(worker, signal.SIGKILL)
    asking.join(20)
    # The dead workers count until the master has reaped them.
    until(lambda: value(scrape(server), "mms_predictions_in_flight", model="first") == 0)
    restarted = "mms_worker_restarts_total"
    until(lambda: value(scrape(server), restarted, model="first") - restarts == 2)
    after = scrape(server)
    name = "mms_predictions_total"
    for model in ("first", "second"):
        labels = {"model": model, "code": "200"}
        assert value(after, name, **labels) == value(before, name, **labels) > 0


def test_the_host_s_first_record_is_written_at_the_start(two: tuple[Server, Path]) -> None:
    _server, directory = two
    of_host = {
        f"mms_{name}.csv"
        for name in mms04_metrics.HOST_METRICS
        if mms04_metrics.UNITS[name] != "Count" and name != mms04_metrics.DESCRIPTIONS
    }
    # A thread writes it while the server answers already.
    until(lambda: of_host <= {path.name for path in directory.glob("metrics/*.csv")})
    line = (directory / "metrics/mms_MemoryUsed.csv").read_text().splitlines()[0]
    time.strptime(line.split(",")[0], "%Y-%m-%d %H:%M:%SZ")
    assert float(line.split(",")[1]) > 10


def test_a_release_s_counters_go_on_over_a_restart_and_an_update(
    archives: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("up")
    layout = Layout.under(root)
    old = write_release(root, archives["pair"], workers=2)
    new = write_release(root, archives["pair"], workers=1)
    app = control_app.create_app(str(root))
    files = MetricsFiles(layout, lambda _name: True)
    started = minute_of(time.time())
    ask = {"left": b"[[1,2,3]]", "right": b"[[1,2,3]]"}

    def counted() -> float:
        found = samples(_get(app, "/metrics"))
        return value(found, "mms_predictions_total", model="pair", code="200")

    seen = 0
    for release in (old, old, new):
        with release_server(root, release) as server:
            assert counted() == seen
            for _ in range(5):
                assert server.predict("pair", ask).status == 200
                seen += 1
                assert counted() == seen
    files.add_to_past([old.id])
    assert not layout.release_metrics(old.id).exists()
    assert counted() == seen == 15
    files.add_to_past([new.id])
    assert counted() == seen
    assert minute_of(time.time()) - started < minute_stats.RING_MINUTES


def _get(app: object, path: str) -> str:
    environ = {"PATH_INFO": path, "REQUEST_METHOD": "GET", "wsgi.errors": None}
    return b"".join(app(environ, lambda *_: None)).decode()  # type: ignore[operator]


def test_minute_statistics_are_exact_over_all_workers(
    archives: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("min")
    release = write_release(root, archives["scripted"], workers=2, model="scripted")
    with release_server(root, release) as server:
        first = minute_of(time.time())
        threads = [
            threading.Thread(
                target=lambda wait=wait: server.predict(
                    "scripted", {"order": f"[[{wait}]]".encode()}
                )
            )
            for wait in (0.2, 0.4, -1)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        last = minute_of(time.time())
    files = MetricsFiles(Layout.under(root), lambda _name: True)
    found: dict[str, Statistic] = {}
    for number in {first, last}:
        for (model, name), seen in files.read_minute(number).items():
            assert model == "scripted"
            found[name] = found[name] + seen if name in found else seen
    assert found["PredictionTotal"] == Statistic(3, 3, 1, 1)
    assert found["Prediction5XX"].total == 1
    assert "Prediction4XX" not in found
    inference = found["LatencyInference"]
    assert inference.count == 3
    assert 400 <= inference.maximum < 700
    assert inference.minimum < 100
    assert inference.total >= 600
    overall = found["LatencyOverall"]
    assert overall.maximum >= inference.maximum
