"""A request that waited too long is refused before it is computed."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from mms_server.core.errors import BadInputError, LateError
from mms_server.overload import deadline
from mms_server.overload.deadline import QUEUED_S, ServiceRate, WaitTimes

NOW = 1_700_000_100.0


def times(text: str) -> WaitTimes:
    return deadline.waited({deadline.TIMES_KEY: text}, NOW)


def test_the_wait_comes_from_nginx_s_header() -> None:
    assert times("1700000098.500 0.250") == WaitTimes(1.5, 1.75)


@pytest.mark.parametrize("text", ["", "x", "1700000098.500", "1700000098.500 -0.1", "1e9 0.250"])
def test_a_malformed_header_is_no_wait(text: str) -> None:
    assert times(text) == WaitTimes()


def test_a_clock_that_was_set_gives_no_negative_time() -> None:
    assert times("1700000200.000 0.250") == WaitTimes(0.0, 0.25)
    assert times("0.000 0.000").queue_s == 86_400


@pytest.mark.parametrize(("text", "seconds"), [("1", 0.001), (" 250 ", 0.25), ("86400000", 86_400)])
def test_the_time_limit_comes_from_the_client(text: str, seconds: float) -> None:
    assert deadline.timeout_s({deadline.TIMEOUT_KEY: text}, 7.0) == seconds
    assert deadline.timeout_s({}, 7.0) == 7.0


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "86400001", "soon", "9" * 5000, "\u0663"])
def test_a_malformed_time_limit_is_refused(text: str) -> None:
    with pytest.raises(BadInputError, match="X-Request-Timeout-Ms") as caught:
        deadline.timeout_s({deadline.TIMEOUT_KEY: text}, 7.0)
    assert caught.value.fix


def test_a_request_is_refused_when_its_time_is_over() -> None:
    ServiceRate().check(WaitTimes(0.999, 0.999), 1.0)
    with pytest.raises(LateError) as caught:
        ServiceRate().check(WaitTimes(1.0, 1.0), 1.0)
    assert caught.value.retry_after_s == 1
    ServiceRate().check(WaitTimes(1000.0, 1000.0), 0.0)


def test_a_queued_request_is_judged_by_the_mean_of_the_last_ones() -> None:
    pace = ServiceRate(workers=2)
    pace.computed(0.1)
    pace.check(WaitTimes(2.0, 2.0), 2.11)
    with pytest.raises(LateError, match=r"about 40 requests wait, 20 are answered") as caught:
        pace.check(WaitTimes(2.0, 2.0), 2.1)
    assert caught.value.retry_after_s == 2


def test_a_request_that_did_not_queue_is_always_computed() -> None:
    pace = ServiceRate()
    pace.computed(10.0)
    pace.check(WaitTimes(QUEUED_S - 0.001, 0.1), 1.0)
    with pytest.raises(LateError):
        pace.check(WaitTimes(QUEUED_S, 0.1), 1.0)


def test_the_rate_follows_the_last_requests() -> None:
    pace = ServiceRate()
    for seconds in (1.0, *[0.1] * 30):
        pace.computed(seconds)
    assert pace.request_s == pytest.approx(0.1, abs=0.01)


def test_a_client_is_gone_when_it_closed_the_connection_not_when_it_shut_down_sending() -> None:
    ours, theirs = socket.socketpair()
    environ: dict[str, Any] = {"gunicorn.socket": ours}
    with ours:
        theirs.sendall(b"a request")
        assert not deadline.client_gone(environ)
        theirs.shutdown(socket.SHUT_WR)
        assert not deadline.client_gone(environ)
        theirs.close()
        assert deadline.client_gone(environ)
    assert deadline.client_gone(environ)
    assert not deadline.client_gone({})
