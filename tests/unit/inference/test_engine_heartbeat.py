"""An engine is alive when it gets work done, and is asked to when nobody else asks."""

from __future__ import annotations

import threading
import time

import gevent
import pytest

from mms_server.core.errors import PredictionTimeoutError
from mms_server.inference import engine_heartbeat as pulses
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


def age(heartbeat: EngineHeartbeat) -> float:
    return time.monotonic() - heartbeat.last_progress(LIMIT_S)


def beat(heartbeat: EngineHeartbeat, seconds: float) -> float:
    """Return the greatest age of the proof, asked as a worker does."""
    until, worst = time.monotonic() + seconds, 0.0
    while time.monotonic() < until:
        worst = max(worst, age(heartbeat))
        gevent.sleep(0.01)
    return worst


def test_an_idle_engine_proves_itself_on_the_sample() -> None:
    ran: list[float] = []
    heartbeat, _engine = make(lambda: ran.append(time.monotonic()))
    assert beat(heartbeat, 1.0) < LIMIT_S
    assert 3 <= len(ran) <= 11


def test_nobody_is_asked_while_requests_prove_it() -> None:
    ran: list[bool] = []
    heartbeat, engine = make(lambda: ran.append(True))
    for _ in range(20):
        engine.run(lambda: None)
        assert age(heartbeat) < 0.1
        gevent.sleep(0.02)
    assert ran == []


def test_a_sample_that_hangs_is_no_proof() -> None:
    release = threading.Event()
    heartbeat, _engine = make(lambda: release.wait(5))
    beat(heartbeat, LIMIT_S * 1.5)
    assert age(heartbeat) > LIMIT_S
    release.set()


def test_a_sample_that_fails_is_no_proof() -> None:
    def sample() -> None:
        raise ValueError("x")

    heartbeat, _engine = make(sample)
    beat(heartbeat, LIMIT_S * 1.5)
    assert age(heartbeat) > LIMIT_S


def test_a_long_request_is_alive_up_to_its_own_limit() -> None:
    release = threading.Event()
    heartbeat, engine = make(timeout_s=0.6)
    job = gevent.spawn(engine.run, lambda: release.wait(5))
    gevent.sleep(0.05)
    assert beat(heartbeat, 0.5) < 0.05, "far longer than the limit, and alive"
    gevent.sleep(0.3)
    assert isinstance(job.exception, PredictionTimeoutError)
    assert age(heartbeat) > 0.2
    assert heartbeat.stuck
    release.set()


@pytest.mark.parametrize(
    ("sample_s", "runs"), [(LIMIT_S / 6 - 0.01, True), (LIMIT_S / 6 + 0.01, False)]
)
def test_a_model_that_is_slow_is_not_run_without_need(sample_s: float, runs: bool) -> None:
    ran: list[bool] = []
    heartbeat, _engine = make(lambda: ran.append(True), sample_s)
    assert beat(heartbeat, LIMIT_S) < LIMIT_S
    assert bool(ran) is runs


def test_a_sample_that_turns_out_slow_is_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulses, "LONGEST_PROBE_S", 0.05)
    ran: list[bool] = []

    def sample() -> None:
        ran.append(True)
        time.sleep(0.08)

    heartbeat, _engine = make(sample)
    assert beat(heartbeat, 1.0) < LIMIT_S
    assert ran == [True]


def test_without_a_limit_nobody_is_asked() -> None:
    ran: list[bool] = []
    heartbeat, _engine = make(lambda: ran.append(True))
    for _ in range(20):
        heartbeat.last_progress(0.0)
        gevent.sleep(0.02)
    assert ran == []
