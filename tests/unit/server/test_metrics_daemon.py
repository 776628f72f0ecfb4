"""``mms-metrics`` follows the newest generation, skips no minute and repeats none."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from mms_server.core.paths import Layout
from mms_server.deploy.apply import apply
from mms_server.host import generations
from mms_server.metrics.minute_stats import MinuteStats
from mms_server.metrics.mms04_metrics import Record
from mms_server.metrics.sinks import SinkError
from mms_server.metrics.system_metrics import HostUsage
from mms_server.server.metrics_daemon import HostMetrics
from tests.fixtures.fake_host import FakeHost
from tests.fixtures.servers import BIN

T0 = 6000.0


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root, environ = logging.getLogger(), dict(os.environ)
    before = (root.level, list(root.handlers))
    yield
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    os.environ.clear()
    os.environ.update(environ)


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Sinks:
    """Makes sinks that record what is written; ``made`` has their kinds and directories."""

    def __init__(self) -> None:
        self.made: list[tuple[str, Path]] = []
        self.rows: list[tuple[str, str, float]] = []
        self.fails = False

    def __call__(self, kind: str, directory: Path) -> Any:
        self.made.append((kind, directory))
        sinks = self

        class Sink:
            def write(self, records: Sequence[Record], end: float) -> None:
                if sinks.fails:
                    raise SinkError("no.")
                sinks.rows += [(kind, row.model, row.value) for row in records]

        return Sink()


def count(layout: Layout, release: str, now: float) -> None:
    layout.metrics.mkdir(parents=True, exist_ok=True)
    layout.release_metrics(release).mkdir(parents=True, exist_ok=True)
    key = (release.rpartition(".")[0], "PredictionTotal")
    MinuteStats(layout.release_metrics(release), "predictions", [key], lambda: now).add(key, 1.0)


def make_writer(fake: FakeHost, clock: Clock, sinks: Sinks) -> HostMetrics:
    return HostMetrics(fake.layout, HostUsage(clock, dict), clock=clock, make_sink=sinks)


def test_it_follows_the_generation(fake: FakeHost) -> None:
    clock, sinks = Clock(T0), Sinks()
    writer = make_writer(fake, clock, sinks)
    assert [kind for kind, _directory in sinks.made] == ["log"]
    rest = "--metrics-write-to\ncsv\n--log-file\nmms_app.log\n--log-level\nDEBUG\n"
    environment = "[MXNet Environment Variables]\nAWS_DEFAULT_REGION=eu-west-3 OTHER=1\n"
    apply(fake.host, fake.write_conf({"a": "1"}, rest + environment))
    count(fake.layout, "a.00000001", T0)
    count(fake.layout, "a.00000002", T0)
    clock.now = T0 + 63
    writer.step()
    assert sinks.made[1:] == [("csv", fake.layout.log / "metrics")]
    assert sinks.rows == [("csv", "a", 2.0)]
    assert os.environ["AWS_DEFAULT_REGION"] == "eu-west-3"
    assert "OTHER" not in os.environ
    logging.getLogger("x").debug("a line")
    assert "a line" in (fake.layout.log / "mms_app.log").read_text()
    generation = generations.newest(fake.layout)
    assert generation is not None
    apply(fake.host, fake.write_conf({"a": "1"}, rest.replace("csv", "cloudwatch")))
    writer.step()
    assert sinks.made[-1][0] == "cloudwatch"
    assert "AWS_DEFAULT_REGION" not in os.environ


def test_only_where_metrics_go_has_changed(fake: FakeHost) -> None:
    apply(fake.host, fake.write_conf({"a": "1"}))
    before = fake.serving()
    outcome = apply(fake.host, fake.write_conf({"a": "1"}, "--metrics-write-to\ncsv\n"))
    assert outcome.changed
    assert outcome.generation == 2
    assert fake.serving() == before
    assert not apply(fake.host, fake.write_conf({"a": "1"}, "--metrics-write-to\ncsv\n")).changed


def test_a_change_of_the_log_makes_a_new_release(fake: FakeHost) -> None:
    apply(fake.host, fake.write_conf({"a": "1"}))
    before = fake.serving()
    outcome = apply(fake.host, fake.write_conf({"a": "1"}, "--log-level\nDEBUG\n"))
    assert outcome.actions[0].action == "replace"
    assert fake.serving() != before
    assert "log level: DEBUG" in outcome.after


def test_a_restart_forgets_no_minute_and_repeats_none(fake: FakeHost) -> None:
    clock, sinks = Clock(T0), Sinks()
    fake.layout.metrics.mkdir(parents=True)
    make_writer(fake, clock, sinks).step()
    for minute in range(4):
        count(fake.layout, "a.00000001", T0 + minute * 60)
    clock.now = T0 + 63
    make_writer(fake, clock, sinks).step()
    assert sinks.rows == []
    (fake.layout.metrics / "written").write_text("99\n")
    make_writer(fake, clock, sinks).step()
    assert len(sinks.rows) == 1
    clock.now = T0 + 183
    make_writer(fake, clock, sinks).step()
    assert len(sinks.rows) == 3
    sinks.fails = True
    clock.now = T0 + 243
    make_writer(fake, clock, sinks).step()
    sinks.fails = False
    make_writer(fake, clock, sinks).step()
    assert len(sinks.rows) == 4


def test_removed_releases_stay_in_the_sums_of_the_host(fake: FakeHost) -> None:
    """Pruning adds the counters of removed releases to the past."""
    for number in range(4):
        apply(fake.host, fake.write_conf({"a": str(number)}))
        (release,) = fake.serving()
        fake.layout.release_metrics(release).mkdir(parents=True)
    kept = {path.name for path in fake.layout.releases.iterdir()}
    apply(fake.host, fake.write_conf({"a": "9"}))
    left = {path.name for path in fake.layout.instances.iterdir()}
    assert left < kept | set(fake.serving())
    assert (fake.layout.metrics / "@past").is_symlink()


def test_the_real_process_writes_at_once_and_ends_at_a_signal(tmp_path: Path) -> None:
    words = [str(BIN / "mms-metrics"), "--layout-root", str(tmp_path)]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        first = process.stderr.readline()
        assert first.startswith("INFO mms.metrics: Metric CPUUtilization for last 60 seconds is ")
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        process.wait(timeout=10)
        process.stderr.close()
