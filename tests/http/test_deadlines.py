"""Tests of deadlines in a release server: late requests and those of lost clients."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fixtures.servers import Answer, Server, multipart, release_server, until, write_release

BUSY_S = 0.6
STAGES = r"queue;dur=[\d.]+, preprocess;dur=[\d.]+, inference;dur=[\d.]+, postprocess;dur=[\d.]+"


@dataclass
class Scripted:
    """A release with one worker, which writes a line into the file ``log`` after each forward."""

    server: Server
    log: Path

    def forwards(self) -> int:
        return len(self.log.read_text().splitlines()) if self.log.exists() else 0

    def ask(self, seconds: float, timeout_ms: int | None = None) -> Answer:
        """Send a request as nginx does; the model sleeps for so many seconds."""
        headers = {"X-Mms-Times": f"{time.time():.3f} 0.000"}
        if timeout_ms is not None:
            headers["X-Request-Timeout-Ms"] = str(timeout_ms)
        return self.server.predict("scripted", {"order": f"[[{seconds}]]".encode()}, **headers)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Keep the worker busy."""
        thread = threading.Thread(target=self.ask, args=(BUSY_S,))
        thread.start()
        time.sleep(BUSY_S / 4)
        yield
        thread.join(20)


@pytest.fixture(scope="module")
def scripted(
    archives: dict[str, Path], releases: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scripted]:
    log = tmp_path_factory.mktemp("log") / "forwards"
    release = write_release(
        releases,
        archives["scripted"],
        environment={"FORWARD_LOG": str(log)},
        request_timeout_ms=30_000,
    )
    with release_server(releases, release) as server:
        yield Scripted(server, log)


def test_answers_of_predictions_have_server_timing(scripted: Scripted) -> None:
    assert re.fullmatch(STAGES, scripted.ask(0).headers["Server-Timing"])
    failed = scripted.ask(-1)
    assert failed.status == 500
    assert re.match(r"queue;dur=[\d.]+, preprocess;", failed.headers["Server-Timing"])
    assert "Server-Timing" not in scripted.server.request("GET", "/scripted/ping").headers


def test_time_in_the_kernels_queue_is_a_stage(scripted: Scripted) -> None:
    with scripted.busy():
        answer = scripted.ask(0)
    queue_ms = float(answer.headers["Server-Timing"].split("queue;dur=")[1].split(",")[0])
    assert BUSY_S * 1000 / 3 < queue_ms < BUSY_S * 1000


def test_a_late_request_is_refused_and_not_computed(scripted: Scripted) -> None:
    with scripted.busy():
        before = scripted.forwards()
        answer = scripted.ask(0, timeout_ms=200)
    assert answer.status == 503
    assert answer.headers["Retry-After"] == "1"
    assert b"would miss its limit of 0.2 s" in answer.body
    # Only the request that kept the worker busy was computed.
    assert scripted.forwards() == before + 1


def test_a_request_that_is_in_time_is_computed(scripted: Scripted) -> None:
    with scripted.busy():
        assert scripted.ask(0, timeout_ms=5000).status == 200


def test_the_models_time_limit_is_the_default(scripted: Scripted) -> None:
    body, kind = multipart({"order": b"[[0]]"})
    old = f"{time.time() - 31:.3f} 0.000"
    headers = {"Content-Type": kind, "X-Mms-Times": old}
    assert scripted.server.request("POST", "/predictions/scripted", body, headers).status == 503
    longer = {**headers, "X-Request-Timeout-Ms": "60000"}
    assert scripted.server.request("POST", "/predictions/scripted", body, longer).status == 200


def test_an_invalid_time_limit_is_a_bad_request(scripted: Scripted) -> None:
    body, kind = multipart({"order": b"[[0]]"})
    headers = {"Content-Type": kind, "X-Request-Timeout-Ms": "soon"}
    answer = scripted.server.request("POST", "/predictions/scripted", body, headers)
    assert answer.status == 400
    assert "whole number of milliseconds" in answer.json["message"]


def test_a_request_whose_client_is_gone_is_not_computed(scripted: Scripted) -> None:
    body, kind = multipart({"order": b"[[0]]"})
    head = f"POST /scripted/predict HTTP/1.0\r\nContent-Type: {kind}\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    before = scripted.forwards()
    with scripted.busy():
        lost = scripted.server.connect()
        lost.sendall(head.encode() + body)
        lost.close()
    assert scripted.ask(0).status == 200
    # The request that kept the worker busy, and this one: the queue is first in, first out.
    until(lambda: scripted.forwards() >= before + 2)
    assert scripted.forwards() == before + 2
