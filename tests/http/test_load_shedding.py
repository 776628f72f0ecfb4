"""Load shedding through nginx: a request is refused at once if the backlog is full."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.fixtures.edges import Edge, batch_edge, stopped
from tests.fixtures.servers import Answer

MAX_QUEUE = 3
BUSY_S = 1.0


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """A model that may have three requests waiting."""
    # A short name, because the path of a Unix socket has at most 107 bytes.
    with batch_edge(tmp_path_factory.mktemp("q"), max_queue=MAX_QUEUE) as edge:
        yield edge


def ask(edge: Edge, order: float) -> tuple[Answer, float]:
    began = time.monotonic()
    answer = edge.predict("batch", {"order": f"[[{order}]]".encode()})
    return answer, time.monotonic() - began


@contextmanager
def busy(edge: Edge, waiting: int) -> Iterator[list[Answer]]:
    """Keep the engine busy while ``waiting`` requests wait; fill the list with their answers."""
    answers: list[Answer] = []
    with ThreadPoolExecutor(waiting + 1) as threads:
        first = threads.submit(ask, edge, BUSY_S)
        time.sleep(BUSY_S / 4)
        others = [threads.submit(ask, edge, 0) for _ in range(waiting)]
        time.sleep(BUSY_S / 4)
        yield answers
        answers += [each.result()[0] for each in (first, *others)]


def test_a_full_backlog_is_answered(edge: Edge) -> None:
    with busy(edge, MAX_QUEUE) as answers:
        pass
    assert [answer.status for answer in answers] == [200] * (MAX_QUEUE + 1)


def test_a_request_beyond_the_backlog_is_refused_at_once(edge: Edge) -> None:
    with busy(edge, MAX_QUEUE) as answers:
        refused, took_s = ask(edge, 0)
        assert took_s < BUSY_S / 4, "it did not wait for the engine"
        ping = edge.request("GET", "/ping")
        assert ping.status == 200
    assert [answer.status for answer in answers] == [200] * (MAX_QUEUE + 1)
    assert refused.status == 503
    assert int(refused.headers["Retry-After"]) >= 1
    assert refused.headers["X-Request-Id"]
    body = json.loads(refused.body)
    assert body["queue"]["depth"] == MAX_QUEUE
    assert body["error"] == body["message"]
    assert "batch is busy: 3 requests wait, the most that may" in body["error"]


def test_a_flood_of_refusals_is_answered_from_nginx_s_cache(edge: Edge) -> None:
    with busy(edge, MAX_QUEUE):
        assert ask(edge, 0)[0].status == 503
        with stopped(edge):
            rows = [ask(edge, 0) for _ in range(50)]
    assert {answer.status for answer, _ in rows} == {503}
    assert sorted(took for _, took in rows)[45] < 0.02
    ids = {answer.headers["X-Request-Id"] for answer, _ in rows}
    assert len(ids) == len(rows), "each has an id of its own"


def test_afterwards_requests_are_answered_again(edge: Edge) -> None:
    with busy(edge, MAX_QUEUE):
        assert ask(edge, 0)[0].status == 503
    assert ask(edge, 0)[0].status == 200
