"""What is more than may wait is refused at once, through nginx, while the engine is busy."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import models
import pytest
from servers import (
    ROOT,
    Answer,
    Server,
    control_server,
    release_server,
    until,
    write_generation,
    write_release,
)

from mms_server.layout import Layout
from mms_server.liveness import holders
from tests.bench.edge import nginx, programs
from tests.ports import free_port

MAY_WAIT = 3
BUSY_S = 1.0


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Short: a Unix socket's path has at most 107 bytes.
    return tmp_path_factory.mktemp("q")


@pytest.fixture(scope="module")
def edge(place: Path) -> Iterator[Server]:
    """A model that may have three requests waiting, behind nginx with the role's templates."""
    port = free_port()
    (place / "sizes").touch()
    release = write_release(
        place,
        models.batch(place),
        max_queue=MAY_WAIT,
        max_batch_size=1,
        environment={"BATCH_WITNESS": str(place / "sizes")},
    )
    layout = Layout.under(place)
    with ExitStack() as stack:
        served = stack.enter_context(release_server(place, release))
        until(lambda: len(holders(served.alive)) == release.workers + 1)
        write_generation(place, release)
        master = stack.enter_context(control_server(place))
        (place / "control.pids").write_text(f"{master} {' '.join(children_of(master))}")
        process = stack.enter_context(nginx(place, port, programs(ROOT / "build" / "bench")))
        (layout.live / "batch.sock").symlink_to(layout.socket(release.id))
        yield Server(port, process, place / "var/log/nginx/error.log", served.alive)


def children_of(pid: int) -> list[str]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    until(children.read_text)
    return children.read_text().split()


def ask(edge: Server, order: float) -> tuple[Answer, float]:
    began = time.monotonic()
    answer = edge.predict("batch", {"order": f"[[{order}]]".encode()})
    return answer, time.monotonic() - began


@contextmanager
def busy(edge: Server, waiting: int) -> Iterator[list[Answer]]:
    """Keep the engine busy while so many more wait; fill the list with their answers."""
    answers: list[Answer] = []
    with ThreadPoolExecutor(waiting + 1) as threads:
        first = threads.submit(ask, edge, BUSY_S)
        time.sleep(BUSY_S / 4)
        others = [threads.submit(ask, edge, 0) for _ in range(waiting)]
        time.sleep(BUSY_S / 4)
        yield answers
        answers += [each.result()[0] for each in (first, *others)]


def test_as_many_as_may_wait_are_answered(edge: Server) -> None:
    with busy(edge, MAY_WAIT) as answers:
        pass
    assert [answer.status for answer in answers] == [200] * (MAY_WAIT + 1)


def test_one_more_is_refused_at_once(edge: Server) -> None:
    with busy(edge, MAY_WAIT) as answers:
        refused, took_s = ask(edge, 0)
        assert took_s < BUSY_S / 4, "it did not wait for the engine"
        ping = edge.request("GET", "/ping")
        assert ping.status == 200
    assert [answer.status for answer in answers] == [200] * (MAY_WAIT + 1)
    assert refused.status == 503
    assert int(refused.headers["Retry-After"]) >= 1
    assert refused.headers["X-Request-Id"]
    body = json.loads(refused.body)
    assert body["queue"]["depth"] == MAY_WAIT
    assert body["error"] == body["message"]
    assert "batch is busy: 3 requests wait, the most that may" in body["error"]


def test_a_flood_of_refusals_asks_nobody_for_a_second(edge: Server, place: Path) -> None:
    with busy(edge, MAY_WAIT):
        assert ask(edge, 0)[0].status == 503
        asked = [int(pid) for pid in (place / "control.pids").read_text().split()]
        for pid in asked:
            os.kill(pid, signal.SIGSTOP)
        try:
            rows = [ask(edge, 0) for _ in range(50)]
        finally:
            for pid in asked:
                os.kill(pid, signal.SIGCONT)
    assert {answer.status for answer, _ in rows} == {503}
    assert sorted(took for _, took in rows)[45] < 0.02
    ids = {answer.headers["X-Request-Id"] for answer, _ in rows}
    assert len(ids) == len(rows), "each has an id of its own"


def test_after_it_all_are_answered_again(edge: Server) -> None:
    with busy(edge, MAY_WAIT):
        assert ask(edge, 0)[0].status == 503
    assert ask(edge, 0)[0].status == 200
