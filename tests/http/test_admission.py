"""Admission control through nginx: a request that would miss its deadline is not queued."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from mms_server.core.paths import Layout
from mms_server.host.instance_files import InstanceFiles
from mms_server.overload.queue_delay import last_queue_delay
from tests.fixtures.edges import Edge, batch_edge, stopped
from tests.fixtures.servers import Answer, until

EACH_S = 0.4
WAITING = 6
LIMIT = {"X-Request-Timeout-Ms": "250"}
AMPLE = {"X-Request-Timeout-Ms": "60000"}
PATHS = (
    "/batch/predict",
    "/predictions/batch",
    "/invocations",
    "/invocations?model_name=batch",
)


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """A model without a time limit of its own."""
    # A short name, because the path of a Unix socket has at most 107 bytes.
    with batch_edge(tmp_path_factory.mktemp("d")) as edge:
        yield edge


def ask(edge: Edge, order: float, path: str = "/batch/predict", **headers: str) -> Answer:
    return edge.post_form(path, {"order": f"[[{order}]]".encode()}, **headers)


@contextmanager
def queue(edge: Edge) -> Iterator[list[Answer]]:
    """Keep requests waiting for longer than the limit; fill the list with their answers."""
    answers: list[Answer] = []
    file = InstanceFiles(Layout.under(edge.log.parents[3]).instance(edge.release.id)).queue
    began = time.time()

    def is_long() -> bool:
        delay = last_queue_delay(file)
        return delay is not None and delay.at > began and delay.queue_s > EACH_S

    with ThreadPoolExecutor(WAITING) as threads:
        waiting = [threads.submit(ask, edge, EACH_S) for _ in range(WAITING)]
        until(is_long)
        yield answers
        answers += [each.result() for each in waiting]


def test_a_request_that_would_be_late_is_rejected_at_once_and_others_wait(edge: Edge) -> None:
    with queue(edge) as answers, ThreadPoolExecutor(2) as threads:
        others = [threads.submit(ask, edge, 0, **headers) for headers in ({}, AMPLE)]
        began = time.monotonic()
        refused = {path: ask(edge, 0, path, **LIMIT) for path in PATHS}
        tensor = {"name": "order", "shape": [1, 1], "datatype": "FP32", "data": [0]}
        body = json.dumps({"inputs": [tensor]}).encode()
        oip = edge.request("POST", "/v2/models/batch/infer", body, LIMIT)
        assert time.monotonic() - began < EACH_S, "they did not wait for the engine"
        assert [each.result().status for each in others] == [200, 200]
    assert [answer.status for answer in answers] == [200] * WAITING
    for answer in (*refused.values(), oip):
        assert answer.status == 503, answer.body
        assert int(answer.headers["Retry-After"]) >= 1
        assert answer.headers["X-Request-Id"]
        assert b"would miss its limit of 0.25 s and was not queued; about " in answer.body
    assert refused["/batch/predict"].headers["Content-Type"].startswith("text/html")
    assert refused["/invocations"].json["type"] == "ServiceUnavailableException"
    assert oip.json["error"].startswith("An answer takes ")


def test_a_request_that_does_not_have_to_wait_is_admitted(edge: Edge) -> None:
    for path in PATHS:
        assert ask(edge, 0, path, **LIMIT).status == 200
    assert ask(edge, 0, **{"X-Request-Timeout-Ms": "soon"}).status == 400
    assert ask(edge, 0, "/nobody/predict", **LIMIT).status == 404


@pytest.mark.parametrize(
    "path",
    ["/@admission", "/@with_deadline/batch/predict", "/@deadline_exceeded", "/@backlog_full/batch"],
)
def test_no_client_reaches_nginx_s_internal_locations(edge: Edge, path: str) -> None:
    assert edge.request("GET", path, None, LIMIT).status == 404


def test_an_admission_counts_for_a_second(edge: Edge) -> None:
    """While no request waits, the control application is hardly asked."""
    assert ask(edge, 0, **AMPLE).status == 200
    with stopped(edge):
        began = time.monotonic()
        assert [ask(edge, 0, **AMPLE).status for _ in range(5)] == [200] * 5
        assert time.monotonic() - began < 0.9


def test_without_the_control_application_a_worker_decides(edge: Edge) -> None:
    with stopped(edge):
        assert ask(edge, 0, **{"X-Request-Timeout-Ms": "50000"}).status == 200
