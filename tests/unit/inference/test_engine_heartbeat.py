"""Tests of the engine's heartbeat: progress by requests, and probes of an idle engine."""

from __future__ import annotations

import threading
import time

import gevent
import pytest

from mms_server.core.errors import PredictionTimeoutError
from mms_server.inference import engine_heartbeat
from mms_server.inference.engine_heartbeat import EngineHeartbeat
from mms_server.inference.executor import Engine

LIMIT_S = 0.6


def make(
    sample: object = lambda: None, sample_s: float = 0.0, timeout_s: float = 5
) -> tuple[EngineHeartbeat, Engine]:
    engine = Engine(timeout_s, lambda: None)
    heartbeat = EngineHeartbeat(engine, sample, sample_s)  # type: ignore[arg-type]
    heartbeat.begin()
    return heartbeat, engine


def progress_age(heartbeat: EngineHeartbeat) -> float:
    return time.monotonic() - heartbeat.last_progress(LIMIT_S)


def max_progress_age(heartbeat: EngineHeartbeat, seconds: float) -> float:
    """Ask for the progress regularly, as a worker does; return its greatest progress_age."""
    end, oldest = time.monotonic() + seconds, 0.0
    while time.monotonic() < end:
        oldest = max(oldest, progress_age(heartbeat))
        gevent.sleep(0.01)
    return oldest


def test_an_idle_engine_is_probed_with_the_sample() -> None:
    ran: list[float] = []
    heartbeat, _engine = make(lambda: ran.append(time.monotonic()))
    assert max_progress_age(heartbeat, 1.0) < LIMIT_S
    assert 3 <= len(ran) <= 11


def test_an_engine_with_requests_is_not_probed() -> None:
    ran: list[bool] = []
    heartbeat, engine = make(lambda: ran.append(True))
    for _ in range(20):
        engine.run(lambda: None)
        assert progress_age(heartbeat) < 0.1
        gevent.sleep(0.02)
    assert ran == []


def test_a_probe_that_hangs_is_no_progress() -> None:
    release = threading.Event()
    heartbeat, _engine = make(lambda: release.wait(5))
    max_progress_age(heartbeat, LIMIT_S * 1.5)
    assert progress_age(heartbeat) > LIMIT_S
    release.set()


def test_a_probe_that_fails_is_no_progress() -> None:
    def sample() -> None:
        raise ValueError("x")

    heartbeat, _engine = make(sample)
    max_progress_age(heartbeat, LIMIT_S * 1.5)
    assert progress_age(heartbeat) > LIMIT_S


def test_a_long_request_is_progress_up_to_its_time_limit() -> None:
    release = threading.Event()
    heartbeat, engine = make(timeout_s=0.6)
    job = gevent.spawn(engine.run, lambda: release.wait(5))
    gevent.sleep(0.05)
    assert max_progress_age(heartbeat, 0.5) < 0.05, "work within its time limit is progress"
    gevent.sleep(0.3)
    assert isinstance(job.exception, PredictionTimeoutError)
    assert progress_age(heartbeat) > 0.2
    assert heartbeat.stuck
    release.set()


@pytest.mark.parametrize(
    ("sample_s", "runs"), [(LIMIT_S / 6 - 0.01, True), (LIMIT_S / 6 + 0.01, False)]
)
def test_a_slow_model_is_probed_without_a_forward(sample_s: float, runs: bool) -> None:
    ran: list[bool] = []
    heartbeat, _engine = make(lambda: ran.append(True), sample_s)
    assert max_progress_age(heartbeat, LIMIT_S) < LIMIT_S
    assert bool(ran) is runs


def test_a_sample_that_turns_out_slow_runs_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_heartbeat, "MAX_PROBE_S", 0.05)
    ran: list[bool] = []

    def sample() -> None:
        ran.append(True)
        time.sleep(0.08)

    heartbeat, _engine = make(sample)
    assert max_progress_age(heartbeat, 1.0) < LIMIT_S
    assert ran == [True]


def test_without_a_limit_the_engine_is_not_probed() -> None:
    ran: list[bool] = []
    heartbeat, _engine = make(lambda: ran.append(True))
    for _ in range(20):
        heartbeat.last_progress(0.0)
        gevent.sleep(0.02)
    assert ran == []
