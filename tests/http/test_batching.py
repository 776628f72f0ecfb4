"""Tests of batching in a release server: batches, delays, crashes and time limits."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from mms_server.core.paths import Layout
from mms_server.crashes.report import Certificate
from mms_server.host.instance_files import InstanceFiles
from mms_server.host.process_liveness import live_slots
from tests.fixtures import models
from tests.fixtures.servers import Answer, Server, multipart, release_server, until, write_release

BUSY_S = 0.5
ARRIVAL_S = 0.02
MAX_BATCH = 4
RAISE, KILL, GROW = -1, -2, -3
IDLE = b"\x01"


@dataclass
class Batching:
    """A release whose service writes the size of each batch into the file ``log``."""

    server: Server
    instance_files: InstanceFiles
    name: str
    log: Path

    def sizes(self) -> list[int]:
        return [int(line) for line in self.log.read_text().split()]

    def ask(self, order: float, **headers: str) -> Answer | None:
        """Return the answer; None if the connection broke."""
        try:
            return self.server.predict(self.name, {"order": f"[[{order}]]".encode()}, **headers)
        except (OSError, HTTPException):
            return None

    @contextmanager
    def together(self, *orders: float, **headers: str) -> Iterator[list[Answer | None]]:
        """Send requests while the worker is busy; fill the list with their answers."""
        answers: list[Answer | None] = []
        with ThreadPoolExecutor(len(orders) + 1) as threads:
            busy = threads.submit(self.ask, BUSY_S)
            time.sleep(BUSY_S / 2)
            sent = []
            for order in orders:
                sent.append(threads.submit(self.ask, order, **headers))
                # The requests have to arrive in this order, also on a busy machine.
                time.sleep(ARRIVAL_S)
            yield answers
            first = busy.result()
            assert first is not None
            assert first.status == 200
            answers += [each.result() for each in sent]

    def certificates(self) -> list[Certificate]:
        files = sorted(self.instance_files.deaths.iterdir())
        return [Certificate.from_json(file.read_bytes()) for file in files]


@pytest.fixture
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # A short name, because the path of a Unix socket has at most 107 bytes.
    return tmp_path_factory.mktemp("b")


@contextmanager
def serve(root: Path, name: str = "batch", **changes: Any) -> Iterator[Batching]:
    """Serve a model; by default with one worker and batches of up to four."""
    log = root / "sizes"
    log.touch()
    settings = {
        "workers": 1,
        "max_batch_size": MAX_BATCH,
        "environment": {"BATCH_LOG": str(log)},
        "worker_memory_max_bytes": 0,
        **changes,
    }
    release = write_release(root, getattr(models, name)(root), **settings)
    instance_files = InstanceFiles(Layout.under(root).instance(release.id))
    with release_server(root, release) as server:
        until(lambda: len(live_slots(server.alive)) == release.workers + 1)
        yield Batching(server, instance_files, name, log)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Batching]:
    """A release for tests that do not change it."""
    with serve(tmp_path_factory.mktemp("b")) as batching:
        yield batching


@pytest.fixture
def batching(served: Batching) -> Batching:
    served.log.write_text("")
    return served


def statuses(answers: Sequence[Answer | None]) -> list[int]:
    return [answer.status if answer else 0 for answer in answers]


def orders(answers: Sequence[Answer | None]) -> list[float]:
    return [answer.json["prediction"]["order"] for answer in answers if answer]


def test_waiting_requests_are_computed_in_batches(batching: Batching) -> None:
    sent = [0.01, 0.02, 0.03, 0.04, 0.05]
    with batching.together(*sent) as answers:
        pass
    assert orders(answers) == sent, "each request has its own answer"
    # The request that kept the worker busy, a full batch, and the rest.
    assert batching.sizes() == [1, MAX_BATCH, 1]
    assert answers[0] is not None
    assert "inference;dur=" in answers[0].headers["Server-Timing"]


def test_with_max_batch_size_1_there_are_no_batches(root: Path) -> None:
    with serve(root, max_batch_size=1) as batching:
        with batching.together(0, 0, 0):
            pass
        assert batching.sizes() == [1, 1, 1, 1]


def test_requests_of_an_idle_worker_are_computed_at_once(batching: Batching) -> None:
    began = time.monotonic()
    for _ in range(20):
        batching.ask(0)
    assert time.monotonic() - began < 1
    assert batching.sizes() == [1] * 20


def test_a_worker_leaves_requests_to_an_idle_worker(root: Path) -> None:
    """Both requests wait when the workers continue, one a little before the other."""
    with serve(root, workers=2) as batching:
        for _ in range(3):
            pids = batching.server.workers()
            # A worker becomes idle a moment after it has sent its answer.
            until(lambda: batching.instance_files.worker_load.read_bytes()[:2] == IDLE * 2)
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            with ThreadPoolExecutor(2) as threads:
                sent = [threads.submit(batching.ask, BUSY_S) for _ in range(2)]
                time.sleep(0.1)
                os.kill(pids[0], signal.SIGCONT)
                time.sleep(0.03)
                os.kill(pids[1], signal.SIGCONT)
                found = {each.result().json["prediction"]["pid"] for each in sent}
            assert found == set(pids)
        assert batching.sizes() == [1] * 6


DELAY_S = 0.6


def test_with_a_delay_a_batch_that_is_not_full_waits(root: Path) -> None:
    with serve(root, max_batch_delay_ms=round(1000 * DELAY_S)) as batching:
        batching.ask(0)
        batching.log.write_text("")
        with ThreadPoolExecutor(MAX_BATCH) as threads:
            began = time.monotonic()
            first = threads.submit(batching.ask, 0.01)
            time.sleep(DELAY_S / 3)
            second = threads.submit(batching.ask, 0.02)
            assert orders([first.result(), second.result()]) == [0.01, 0.02]
            assert time.monotonic() - began >= DELAY_S
            assert batching.sizes() == [2]
            # A full batch does not wait.
            began = time.monotonic()
            sent = [threads.submit(batching.ask, 0.01 * number) for number in range(MAX_BATCH)]
            assert statuses([each.result() for each in sent]) == [200] * MAX_BATCH
            assert time.monotonic() - began < DELAY_S
            assert batching.sizes() == [2, MAX_BATCH]


def test_there_is_no_delay_while_another_worker_is_idle(root: Path) -> None:
    with serve(root, workers=2, max_batch_delay_ms=1000) as batching:
        began = time.monotonic()
        for _ in range(3):
            until(lambda: batching.instance_files.worker_load.read_bytes()[:2] == IDLE * 2)
            batching.ask(0)
        assert time.monotonic() - began < 1
        assert batching.sizes() == [1] * 3


def test_requests_that_are_no_predictions_do_not_wait(root: Path) -> None:
    with serve(root, max_batch_delay_ms=1000) as batching:
        began = time.monotonic()
        for _ in range(3):
            assert batching.server.request("GET", "/nothing-like-this").status == 404
        assert time.monotonic() - began < 1


def test_a_request_that_raises_fails_alone(batching: Batching) -> None:
    with batching.together(0, RAISE, 0.01, 0.02) as answers:
        pass
    assert statuses(answers) == [200, 500, 200, 200]
    assert orders([answers[0], *answers[2:]]) == [0, 0.01, 0.02]


def test_a_request_with_a_bad_image_fails_alone(root: Path) -> None:
    """The steps of the vision service run per request, its network on the batch."""
    with serve(root, "colors") as batching:
        names = ["red", "blue", "white"]
        colors = [(255, 0, 0), (0, 0, 255), (255, 255, 255)]
        files = [models.picture(color) for color in colors]
        forms = [
            {"data": ("a.jpg", "image/jpeg", each)} for each in (*files, b"\xff\xd8 no picture")
        ]
        (pid,) = batching.server.workers()
        os.kill(pid, signal.SIGSTOP)
        with ThreadPoolExecutor(4) as threads:
            sent = [threads.submit(batching.server.predict, "colors", form) for form in forms]
            time.sleep(0.2)
            os.kill(pid, signal.SIGCONT)
            answers = [each.result() for each in sent]
        assert statuses(answers) == [200, 200, 200, 500]
        best = [answer.json["prediction"][0][0]["class"] for answer in answers[:3]]
        assert best == names
        assert json.loads(batching.instance_files.batching.read_text())["most"] == MAX_BATCH


@pytest.mark.parametrize("again", [{"X-Mms-Again": "1"}, {}], ids=["by nginx", "by the client"])
def test_after_a_crash_only_the_fatal_request_is_refused(root: Path, again: dict[str, str]) -> None:
    with serve(root) as batching:
        with batching.together(0, 0.01, KILL, 0.02) as answers:
            pass
        assert statuses(answers) == [0, 0, 0, 0]
        until(batching.certificates)
        (first,) = batching.certificates()
        assert len(first.requests) == MAX_BATCH
        until(lambda: len(live_slots(batching.server.alive)) == 2)
        # All requests are sent again.
        with batching.together(0, KILL, 0.01, 0.02, **again) as answers:
            pass
        until(lambda: len(batching.certificates()) == 2)
        if again:
            assert statuses(answers) == [200, 0, 200, 200]
        else:
            # Suspects are computed one by one. nginx sends the requests behind the fatal one again.
            assert statuses(answers)[:2] == [200, 0]
            until(lambda: len(live_slots(batching.server.alive)) == 2)
            with batching.together(KILL, 0.01, 0.02, **{"X-Mms-Again": "1"}) as answers:
                pass
            assert statuses(answers) == [422, 200, 200]
        last = batching.certificates()[-1]
        assert len(last.requests) == 1
        assert last.refused == last.requests[0].digest
        until(lambda: len(live_slots(batching.server.alive)) == 2)
        with batching.together(0, KILL, 0.01, 0.02) as answers:
            pass
        assert statuses(answers) == [200, 422, 200, 200]


def test_late_requests_and_those_of_lost_clients_are_not_computed(batching: Batching) -> None:
    late = {"X-Mms-Times": f"{time.time() - 10:.3f} 0.000", "X-Request-Timeout-Ms": "5000"}
    with ThreadPoolExecutor(1) as threads, batching.together(0, 0.01) as answers:
        refused = threads.submit(batching.ask, 0, **late)
        lost = _send(batching, 0)
        lost.close()
    assert statuses(answers) == [200, 200]
    assert statuses([refused.result()]) == [503]
    assert sum(batching.sizes()) == 3


def test_a_request_that_hangs_fails_alone(root: Path) -> None:
    """The connections of the other requests break: nginx sends them to another worker."""
    with serve(root, "slow_preprocess", predict_timeout_s=1.0, watchdog_s=5) as batching:
        with batching.together(0, 30, 0.01) as answers:
            pass
        assert statuses(answers) == [0, 504, 0]
        until(batching.certificates)
        (found,) = batching.certificates()
        assert found.cause == "timeout"
        until(lambda: len(live_slots(batching.server.alive)) == 2)
        with batching.together(0, 0.01, **{"X-Mms-Again": "1"}) as answers:
            pass
        assert statuses(answers) == [200, 200]


def test_a_stop_answers_all_accepted_requests(root: Path) -> None:
    with serve(root) as batching:
        with batching.together(BUSY_S, 0, 0) as answers:
            until(lambda: len(batching.sizes()) == 2)
            batching.server.process.send_signal(signal.SIGTERM)
        assert statuses(answers) == [200, 200, 200]
        assert batching.server.process.wait(10) == 0
        assert batching.certificates() == []


def test_a_worker_over_its_memory_limit_is_replaced_after_its_round(root: Path) -> None:
    with serve(root, worker_memory_max_bytes=100 << 20) as batching:
        before = batching.server.workers()
        with batching.together(GROW, GROW, GROW, GROW) as answers:
            pass
        assert statuses(answers) == [200] * MAX_BATCH
        assert batching.sizes() == [1, MAX_BATCH]
        until(lambda: len(batching.server.workers()) == 1 and batching.server.workers() != before)
        assert batching.certificates() == []


def test_a_service_with_state_is_not_batched(root: Path) -> None:
    with serve(root, "scripted") as batching:
        found = json.loads(batching.instance_files.batching.read_text())
    assert found["most"] == 1
    assert "declare handle_batch" in found["reason"]


def _send(batching: Batching, order: float) -> socket.socket:
    body, kind = multipart({"order": f"[[{order}]]".encode()})
    head = f"POST /batch/predict HTTP/1.0\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}"
    connection = batching.server.connect()
    connection.sendall(head.encode() + b"\r\n\r\n" + body)
    return connection
