"""A release under load: what waits is computed together, and nothing else changes for it."""

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
MOST = 4
RAISE, KILL, GROW = -1, -2, -3
IDLE = b"\x01"


@dataclass
class Batching:
    """A release whose service tells in a file how many requests it gets together."""

    server: Server
    instance_files: InstanceFiles
    name: str
    witness: Path

    def sizes(self) -> list[int]:
        return [int(line) for line in self.witness.read_text().split()]

    def ask(self, order: float, **headers: str) -> Answer | None:
        """Return the answer, None if the connection broke."""
        try:
            return self.server.predict(self.name, {"order": f"[[{order}]]".encode()}, **headers)
        except (OSError, HTTPException):
            return None

    @contextmanager
    def together(self, *orders: float, **headers: str) -> Iterator[list[Answer | None]]:
        """Fill the list with the answers to requests that waited while the worker was busy."""
        answers: list[Answer | None] = []
        with ThreadPoolExecutor(len(orders) + 1) as threads:
            busy = threads.submit(self.ask, BUSY_S)
            time.sleep(BUSY_S / 2)
            asked = [threads.submit(self.ask, order, **headers) for order in orders]
            yield answers
            first = busy.result()
            assert first is not None
            assert first.status == 200
            answers += [each.result() for each in asked]

    def certificates(self) -> list[Certificate]:
        files = sorted(self.instance_files.deaths.iterdir())
        return [Certificate.from_json(file.read_bytes()) for file in files]


@pytest.fixture
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Short: a Unix socket's path has at most 107 bytes.
    return tmp_path_factory.mktemp("b")


@contextmanager
def serve(root: Path, name: str = "batch", **changes: Any) -> Iterator[Batching]:
    """Serve a model with one worker and batches of up to four, unless said otherwise."""
    witness = root / "sizes"
    witness.touch()
    settings = {
        "workers": 1,
        "max_batch_size": MOST,
        "environment": {"BATCH_WITNESS": str(witness)},
        "worker_memory_max_bytes": 0,
        **changes,
    }
    release = write_release(root, getattr(models, name)(root), **settings)
    instance_files = InstanceFiles(Layout.under(root).instance(release.id))
    with release_server(root, release) as server:
        until(lambda: len(live_slots(server.alive)) == release.workers + 1)
        yield Batching(server, instance_files, name, witness)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Batching]:
    """A release that no test harms."""
    with serve(tmp_path_factory.mktemp("b")) as batching:
        yield batching


@pytest.fixture
def batching(served: Batching) -> Batching:
    served.witness.write_text("")
    return served


def statuses(answers: Sequence[Answer | None]) -> list[int]:
    return [answer.status if answer else 0 for answer in answers]


def orders(answers: Sequence[Answer | None]) -> list[float]:
    return [answer.json["prediction"]["order"] for answer in answers if answer]


def test_what_waits_is_computed_together(batching: Batching) -> None:
    wanted = [0.01, 0.02, 0.03, 0.04, 0.05]
    with batching.together(*wanted) as answers:
        pass
    assert orders(answers) == wanted, "each has its own answer"
    # One that kept the worker busy, the most that are allowed, and the rest.
    assert batching.sizes() == [1, MOST, 1]
    assert answers[0] is not None
    assert "inference;dur=" in answers[0].headers["Server-Timing"]


def test_with_a_batch_of_one_nothing_is_computed_together(root: Path) -> None:
    with serve(root, max_batch_size=1) as batching:
        with batching.together(0, 0, 0):
            pass
        assert batching.sizes() == [1, 1, 1, 1]


def test_a_request_that_does_not_wait_is_computed_at_once(batching: Batching) -> None:
    began = time.monotonic()
    for _ in range(20):
        batching.ask(0)
    assert time.monotonic() - began < 1
    assert batching.sizes() == [1] * 20


def test_what_an_idle_worker_could_start_is_left_to_it(root: Path) -> None:
    """Both requests wait when the workers wake up, one a little before the other."""
    with serve(root, workers=2) as batching:
        for _ in range(3):
            pids = batching.server.workers()
            # An answer leaves a moment before its worker is idle.
            until(lambda: batching.instance_files.worker_load.read_bytes()[:2] == IDLE * 2)
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            with ThreadPoolExecutor(2) as threads:
                asked = [threads.submit(batching.ask, BUSY_S) for _ in range(2)]
                time.sleep(0.1)
                os.kill(pids[0], signal.SIGCONT)
                time.sleep(0.03)
                os.kill(pids[1], signal.SIGCONT)
                found = {each.result().json["prediction"]["pid"] for each in asked}
            assert found == set(pids)
        assert batching.sizes() == [1] * 6


DELAY_S = 0.6


def test_a_batch_that_is_not_full_waits_for_more_if_that_is_wanted(root: Path) -> None:
    with serve(root, max_batch_delay_ms=round(1000 * DELAY_S)) as batching:
        batching.ask(0)
        batching.witness.write_text("")
        with ThreadPoolExecutor(MOST) as threads:
            began = time.monotonic()
            first = threads.submit(batching.ask, 0.01)
            time.sleep(DELAY_S / 3)
            second = threads.submit(batching.ask, 0.02)
            assert orders([first.result(), second.result()]) == [0.01, 0.02]
            assert time.monotonic() - began >= DELAY_S
            assert batching.sizes() == [2]
            # One that is full has nothing to wait for.
            began = time.monotonic()
            asked = [threads.submit(batching.ask, 0.01 * number) for number in range(MOST)]
            assert statuses([each.result() for each in asked]) == [200] * MOST
            assert time.monotonic() - began < DELAY_S
            assert batching.sizes() == [2, MOST]


def test_nothing_waits_for_more_while_another_worker_is_idle(root: Path) -> None:
    with serve(root, workers=2, max_batch_delay_ms=1000) as batching:
        began = time.monotonic()
        for _ in range(3):
            until(lambda: batching.instance_files.worker_load.read_bytes()[:2] == IDLE * 2)
            batching.ask(0)
        assert time.monotonic() - began < 1
        assert batching.sizes() == [1] * 3


def test_what_is_no_prediction_does_not_wait(root: Path) -> None:
    with serve(root, max_batch_delay_ms=1000) as batching:
        began = time.monotonic()
        for _ in range(3):
            assert batching.server.request("GET", "/nothing-like-this").status == 404
        assert time.monotonic() - began < 1


def test_a_bad_request_fails_alone(batching: Batching) -> None:
    with batching.together(0, RAISE, 0.01, 0.02) as answers:
        pass
    assert statuses(answers) == [200, 500, 200, 200]
    assert orders([answers[0], *answers[2:]]) == [0, 0.01, 0.02]


def test_a_picture_that_is_none_fails_alone(root: Path) -> None:
    """The vision service's own steps, on a network that is bound for the batch."""
    with serve(root, "colors") as batching:
        names = ["red", "blue", "white"]
        shown = [(255, 0, 0), (0, 0, 255), (255, 255, 255)]
        files = [models.picture(color) for color in shown]
        forms = [
            {"data": ("a.jpg", "image/jpeg", each)} for each in (*files, b"\xff\xd8 no picture")
        ]
        (pid,) = batching.server.workers()
        os.kill(pid, signal.SIGSTOP)
        with ThreadPoolExecutor(4) as threads:
            asked = [threads.submit(batching.server.predict, "colors", form) for form in forms]
            time.sleep(0.2)
            os.kill(pid, signal.SIGCONT)
            answers = [each.result() for each in asked]
        assert statuses(answers) == [200, 200, 200, 500]
        best = [answer.json["prediction"][0][0]["class"] for answer in answers[:3]]
        assert best == names
        assert json.loads(batching.instance_files.batching.read_text())["most"] == MOST


@pytest.mark.parametrize("again", [{"X-Mms-Again": "1"}, {}], ids=["by nginx", "by the client"])
def test_a_death_is_certified_with_all_and_costs_no_innocent(
    root: Path, again: dict[str, str]
) -> None:
    with serve(root) as batching:
        with batching.together(0, 0.01, KILL, 0.02) as answers:
            pass
        assert statuses(answers) == [0, 0, 0, 0]
        until(batching.certificates)
        (first,) = batching.certificates()
        assert len(first.requests) == MOST
        until(lambda: len(live_slots(batching.server.alive)) == 2)
        # All of them are sent again.
        with batching.together(0, KILL, 0.01, 0.02, **again) as answers:
            pass
        until(lambda: len(batching.certificates()) == 2)
        if again:
            assert statuses(answers) == [200, 0, 200, 200]
        else:
            # Suspects are computed one by one; nginx sends again those behind the one that killed.
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


def test_late_and_lost_requests_are_not_computed(batching: Batching) -> None:
    late = {"X-Mms-Times": f"{time.time() - 10:.3f} 0.000", "X-Request-Timeout-Ms": "5000"}
    with ThreadPoolExecutor(1) as threads, batching.together(0, 0.01) as answers:
        refused = threads.submit(batching.ask, 0, **late)
        lost = _send(batching, 0)
        lost.close()
    assert statuses(answers) == [200, 200]
    assert statuses([refused.result()]) == [503]
    assert sum(batching.sizes()) == 3


def test_a_request_that_hangs_takes_its_own_time_limit_only(root: Path) -> None:
    """Its mates' connections break: nginx sends them again, to another worker."""
    with serve(root, "slow_to_read", predict_timeout_s=1.0, watchdog_s=5) as batching:
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


def test_a_stop_answers_all_that_were_taken(root: Path) -> None:
    with serve(root) as batching:
        with batching.together(BUSY_S, 0, 0) as answers:
            until(lambda: len(batching.sizes()) == 2)
            batching.server.process.send_signal(signal.SIGTERM)
        assert statuses(answers) == [200, 200, 200]
        assert batching.server.process.wait(10) == 0
        assert batching.certificates() == []


def test_a_worker_that_grows_is_replaced_after_its_round(root: Path) -> None:
    with serve(root, worker_memory_max_bytes=100 << 20) as batching:
        before = batching.server.workers()
        with batching.together(GROW, GROW, GROW, GROW) as answers:
            pass
        assert statuses(answers) == [200] * MOST
        assert batching.sizes() == [1, MOST]
        until(lambda: len(batching.server.workers()) == 1 and batching.server.workers() != before)
        assert batching.certificates() == []


def test_steps_with_state_are_computed_one_after_the_other(root: Path) -> None:
    with serve(root, "odd") as batching:
        found = json.loads(batching.instance_files.batching.read_text())
    assert found["most"] == 1
    assert "declare handle_batch" in found["reason"]


def _send(batching: Batching, order: float) -> socket.socket:
    body, kind = multipart({"order": f"[[{order}]]".encode()})
    head = f"POST /batch/predict HTTP/1.0\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}"
    connection = batching.server.connect()
    connection.sendall(head.encode() + b"\r\n\r\n" + body)
    return connection
