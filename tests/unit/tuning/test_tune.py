"""Tests of ``mms tune`` on a fake host: releases, requests, and the settings that are written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from mms_server.archives import golden_samples
from mms_server.archives.golden_samples import Sample
from mms_server.cli import main
from mms_server.config.mms_conf import read
from mms_server.core.errors import ConfError, MMSError, NoRoomError, SupervisorError
from mms_server.core.paths import Layout
from mms_server.deploy.apply import apply
from mms_server.host.release import Release
from mms_server.host.resource_profile import WORKER_BYTES
from mms_server.tuning.load_generator import Request
from mms_server.tuning.search import Candidate, Window
from mms_server.tuning.tune import NothingInTimeError, tune
from tests.fixtures.fake_host import MIB, FakeHost


class FakeMeasurement:
    """A load generator whose rate follows from the settings of the release: 100/s per worker.

    ``batch`` and ``delay`` are the factors by which batches and batch delays raise the rate.
    """

    def __init__(self, layout: Layout, batch: float = 1.0, delay: float = 1.0) -> None:
        self._layout = layout
        self._batch = batch
        self._delay = delay
        self.sent: list[Request] = []

    def __call__(
        self, socket: Path, requests: Sequence[Request], connections: int, seconds: float
    ) -> Window:
        self.sent += requests
        text = self._layout.release_file(socket.name.removesuffix(".sock")).read_text()
        release = Release.from_json(text)
        max_rate = 100.0 * release.workers * (self._batch if release.max_batch_size > 1 else 1)
        max_rate *= self._delay if release.max_batch_delay_ms else 1
        rate = min(100.0 * connections, max_rate)
        return Window(rate, 1000 * connections / rate, 1000 * connections / rate)


@pytest.fixture
def served(fake: FakeHost) -> FakeHost:
    """A host that serves a model with a golden sample beside its archive."""
    conf = fake.write_conf({"a": "1"})
    samples = fake.root / "efs/a.model.golden"
    samples.mkdir()
    for name, content in golden_samples.encode([Sample(([[1, 2, 3]],), ["[[1]]"])]).items():
        (samples / name).write_bytes(content)
    apply(fake.host, conf)
    return fake


def test_the_best_settings_are_written_with_the_measurements(served: FakeHost) -> None:
    conf = served.root / "efs/mms.conf"
    before = served.serving()
    measure = FakeMeasurement(served.layout)
    tuned = tune(served.host, "a", 1000, conf, count=lambda: 4, measure_window=measure)
    assert (tuned.serves, tuned.best.candidate) == (Candidate(1, 8), Candidate(4, 1))
    assert tuned.changed
    settings = read(conf).model_settings["a"]
    assert (settings.workers, settings.max_batch_size) == (4, 1)
    text = conf.read_text()
    assert (
        "# mms tune: a: 2020-01-02, for a p99 of 1000 ms: 4 workers, batches of up to 1, " in text
    )
    assert "# mms tune: a: before: 1 worker, batches of up to 8, 1 connection: 100.0 " in text
    assert served.serving() == before
    served.check_settled({"a": "1"})
    assert b'name="data"\r\n\r\n[[1, 2, 3]]' in measure.sent[0].body


def test_a_check_writes_nothing(served: FakeHost) -> None:
    conf = served.root / "efs/mms.conf"
    before = conf.read_text()
    tuned = tune(
        served.host, "a", 1000, None, count=lambda: 2, measure_window=FakeMeasurement(served.layout)
    )
    assert tuned.written == ""
    assert conf.read_text() == before


def test_batches_that_raise_the_rate_are_selected(served: FakeHost) -> None:
    measure = FakeMeasurement(served.layout, batch=3)
    tuned = tune(served.host, "a", 1000, None, count=lambda: 1, measure_window=measure)
    assert tuned.best.candidate == Candidate(1, 8)
    assert not tuned.changed


def test_a_delay_that_helps_is_written_and_one_that_does_not_is_removed(served: FakeHost) -> None:
    conf = served.root / "efs/mms.conf"
    measure = FakeMeasurement(served.layout, batch=3, delay=1.2)
    tuned = tune(served.host, "a", 1000, conf, count=lambda: 1, measure_window=measure)
    assert tuned.best.candidate == Candidate(1, 8, 2)
    assert read(conf).model_settings["a"].max_batch_delay_ms == 2
    assert "1 worker, batches of up to 8 that wait 2 ms, 4 connections: 360.0" in conf.read_text()
    tune(
        served.host,
        "a",
        1000,
        conf,
        count=lambda: 1,
        measure_window=FakeMeasurement(served.layout, batch=3),
    )
    assert read(conf).model_settings["a"].max_batch_delay_ms is None


def test_nothing_in_time(served: FakeHost) -> None:
    with pytest.raises(NothingInTimeError, match=r"within 5 ms; nearest is .* p99 10\.0 ms"):
        tune(
            served.host,
            "a",
            5,
            None,
            count=lambda: 2,
            measure_window=FakeMeasurement(served.layout),
        )
    served.check_settled({"a": "1"})


def test_a_trial_that_does_not_start_is_removed(served: FakeHost) -> None:
    served.supervisor.broken = {"a"}
    with pytest.raises(SupervisorError):
        tune(
            served.host,
            "a",
            1000,
            None,
            count=lambda: 2,
            measure_window=FakeMeasurement(served.layout),
        )
    served.supervisor.broken = set()
    served.check_settled({"a": "1"})


def test_a_trial_needs_enough_memory(served: FakeHost) -> None:
    # The live release has one worker, needs 1 MiB, and its resource profile says so.
    beside = MIB + 3 * WORKER_BYTES
    served.memory_bytes = MIB + beside - 1
    measure = FakeMeasurement(served.layout)
    with pytest.raises(NoRoomError, match="a trial beside it needs"):
        tune(served.host, "a", 1000, None, count=lambda: 4, measure_window=measure)
    served.memory_bytes += 1
    assert tune(served.host, "a", 1000, None, count=lambda: 4, measure_window=measure)


def test_a_model_that_is_not_served_or_has_no_samples_is_refused(fake: FakeHost) -> None:
    measure = FakeMeasurement(fake.layout)
    with pytest.raises(MMSError, match="not served by this host"):
        tune(fake.host, "a", 50, None, measure_window=measure)
    apply(fake.host, fake.write_conf({"a": "1"}))
    with pytest.raises(MMSError, match="no golden samples") as caught:
        tune(fake.host, "a", 50, None, measure_window=measure)
    assert "--sample" in caught.value.fix


def test_a_file_without_the_model_is_left_as_it_is(served: FakeHost) -> None:
    conf = served.write_conf({"b": "1"})
    before = conf.read_text()
    measure = FakeMeasurement(served.layout)
    with pytest.raises(ConfError, match="'a' is not a model of --models"):
        tune(served.host, "a", 1000, conf, count=lambda: 2, measure_window=measure)
    assert conf.read_text() == before
    assert not measure.sent, "the file is checked before any measurement"


@pytest.mark.parametrize(
    ("text", "value"), [("50ms", 50.0), ("0.5s", 500.0), ("1.25ms", 1.25), ("2s", 2000.0)]
)
def test_times_have_a_unit(text: str, value: float) -> None:
    assert main.PROGRAM.parser().parse_args(["tune", "a", "--p99", text]).p99 == value


@pytest.mark.parametrize("text", ["50", "0ms", "1m", "ms", "1e3ms"])
def test_invalid_times_are_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main.PROGRAM.parser().parse_args(["tune", "a", "--p99", text])
    assert "is not a time: write 50ms, or 0.5s" in capsys.readouterr().err
