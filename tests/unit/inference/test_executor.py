"""Tests of the executor: one call at a time, in one thread, with a time limit."""

from __future__ import annotations

import threading
import time

import gevent
import pytest

from mms_server.core.errors import PredictionError, PredictionTimeoutError
from mms_server.inference.executor import Engine


def test_all_work_runs_in_one_other_thread() -> None:
    engine = Engine(5, lambda: None)
    threads = {engine.run(threading.get_ident) for _ in range(5)}
    assert len(threads) == 1
    assert threads != {threading.get_ident()}
    assert engine.idle


def test_work_runs_one_at_a_time() -> None:
    engine = Engine(5, lambda: None)
    active: list[int] = []

    def work() -> int:
        active.append(1)
        time.sleep(0.02)
        running = len(active)
        active.pop()
        return running

    jobs = [gevent.spawn(engine.run, work) for _ in range(8)]
    ticks = 0
    while not all(job.ready() for job in jobs):
        gevent.sleep(0.005)
        ticks += 1
        assert not engine.idle or all(job.ready() for job in jobs)
    assert {job.get(timeout=1) for job in jobs} == {1}
    assert ticks > 10


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(1), KeyboardInterrupt()])
def test_any_exception_becomes_a_prediction_error(error: BaseException) -> None:
    def work() -> None:
        raise error

    engine = Engine(5, lambda: None)
    with pytest.raises(PredictionError) as caught:
        engine.run(work)
    assert caught.value.__cause__ is error
    assert engine.run(lambda: 1) == 1


def test_work_over_the_time_limit_fails_and_calls_on_stuck() -> None:
    stuck: list[bool] = []
    release = threading.Event()
    engine = Engine(0.1, lambda: stuck.append(True))
    with pytest.raises(PredictionTimeoutError, match=r"longer than 0\.1 s"):
        engine.run(lambda: release.wait(5))
    assert stuck == [True]
    assert engine.stuck
    assert not engine.idle
    with pytest.raises(PredictionTimeoutError):
        engine.run(lambda: 1)
    release.set()
    with gevent.Timeout(5):
        while engine.stuck:
            gevent.sleep(0.01)
    assert engine.run(lambda: 1) == 1


def test_work_that_waited_too_long_does_not_run() -> None:
    stuck: list[bool] = []
    ran: list[bool] = []
    engine = Engine(0.2, lambda: stuck.append(True))
    first = gevent.spawn(engine.run, lambda: time.sleep(0.15))
    gevent.sleep(0.02)
    slow = gevent.spawn(engine.run, lambda: time.sleep(0.15))
    gevent.sleep(0.02)
    waiting = gevent.spawn(engine.run, lambda: ran.append(True))
    gevent.joinall([first, slow, waiting], timeout=2)
    assert first.successful()
    assert isinstance(waiting.exception, PredictionTimeoutError)
    assert ran == []
