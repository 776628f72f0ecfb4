"""A request whose time limit cannot be kept is refused before it waits, through nginx."""

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

from mms_server.deaths.places import Places
from mms_server.layout import Layout
from mms_server.liveness import holders
from mms_server.queue_note import noted
from tests.bench.edge import nginx, programs
from tests.ports import free_port

EACH_S = 0.4
WAITING = 6
LIMIT = {"X-Request-Timeout-Ms": "250"}
AMPLE = {"X-Request-Timeout-Ms": "60000"}
PATHS = {
    "/batch/predict": "HTML",
    "/predictions/batch": "MMS1",
    "/invocations": "MMS1",
    "/invocations?model_name=batch": "MMS1",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Short: a Unix socket's path has at most 107 bytes.
    return tmp_path_factory.mktemp("d")


@pytest.fixture(scope="module")
def edge(place: Path) -> Iterator[Server]:
    """A model without a time limit of its own, behind nginx with the role's templates."""
    port = free_port()
    (place / "sizes").touch()
    release = write_release(
        place,
        models.batch(place),
        max_batch_size=1,
        environment={"BATCH_WITNESS": str(place / "sizes")},
    )
    layout = Layout.under(place)
    with ExitStack() as stack:
        served = stack.enter_context(release_server(place, release))
        until(lambda: len(holders(served.alive)) == release.workers + 1)
        write_generation(place, release)
        master = stack.enter_context(control_server(place))
        children = Path(f"/proc/{master}/task/{master}/children")
        until(children.read_text)
        (place / "control.pids").write_text(f"{master} {children.read_text()}")
        (place / "note").symlink_to(Places(layout.instance(release.id)).queue)
        process = stack.enter_context(nginx(place, port, programs(ROOT / "build" / "bench")))
        for name in ("batch", "@only"):
            (layout.live / f"{name}.sock").symlink_to(layout.socket(release.id))
        yield Server(port, process, place / "var/log/nginx/error.log", served.alive)


def ask(edge: Server, order: float, path: str = "/batch/predict", **headers: str) -> Answer:
    return edge.post_form(path, {"order": f"[[{order}]]".encode()}, **headers)


@contextmanager
def queue(edge: Server, place: Path) -> Iterator[list[Answer]]:
    """Keep requests waiting for longer than the limit; fill the list with their answers."""
    answers: list[Answer] = []

    def waited_s() -> float:
        found = noted((place / "note").resolve())
        return found.queue_s if found else 0.0

    with ThreadPoolExecutor(WAITING) as threads:
        began = time.time()
        asked = [threads.submit(ask, edge, EACH_S) for _ in range(WAITING)]
        until(lambda: waited_s() > EACH_S and noted((place / "note").resolve()).at > began)  # type: ignore[union-attr]
        yield answers
        answers += [each.result() for each in asked]


@contextmanager
def stopped(place: Path) -> Iterator[None]:
    """Stop the control application for a while."""
    pids = [int(pid) for pid in (place / "control.pids").read_text().split()]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_what_would_be_late_is_refused_at_once_and_all_else_waits(
    edge: Server, place: Path
) -> None:
    with queue(edge, place) as answers, ThreadPoolExecutor(2) as threads:
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


def test_who_does_not_have_to_wait_is_let_in(edge: Server) -> None:
    for path in PATHS:
        assert ask(edge, 0, path, **LIMIT).status == 200
    assert ask(edge, 0, **{"X-Request-Timeout-Ms": "soon"}).status == 400
    assert ask(edge, 0, "/nobody/predict", **LIMIT).status == 404


def test_nobody_gets_to_the_door_from_outside(edge: Server) -> None:
    for path in ("/@door", "/@hurried/batch/predict", "/@late"):
        assert edge.request("GET", path, None, LIMIT).status == 404


def test_a_yes_counts_for_a_second(edge: Server, place: Path) -> None:
    """While nobody waits, the control application is hardly asked."""
    assert ask(edge, 0, **AMPLE).status == 200
    with stopped(place):
        began = time.monotonic()
        assert [ask(edge, 0, **AMPLE).status for _ in range(5)] == [200] * 5
        assert time.monotonic() - began < 0.9


def test_without_the_control_application_a_worker_decides(edge: Server, place: Path) -> None:
    with stopped(place):
        assert ask(edge, 0, **{"X-Request-Timeout-Ms": "50000"}).status == 200
