"""A release under load: late requests and those of lost clients are not computed."""

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
class Odd:
    """A release of one worker that tells each forward in a file."""

    server: Server
    witness: Path

    def forwards(self) -> int:
        return len(self.witness.read_text().splitlines()) if self.witness.exists() else 0

    def ask(self, seconds: float, timeout_ms: int | None = None) -> Answer:
        """Ask as nginx does; the model sleeps so long."""
        headers = {"X-Mms-Times": f"{time.time():.3f} 0.000"}
        if timeout_ms is not None:
            headers["X-Request-Timeout-Ms"] = str(timeout_ms)
        return self.server.predict("odd", {"order": f"[[{seconds}]]".encode()}, **headers)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Occupy the worker."""
        thread = threading.Thread(target=self.ask, args=(BUSY_S,))
        thread.start()
        time.sleep(BUSY_S / 4)
        yield
        thread.join(20)


@pytest.fixture(scope="module")
def odd(
    archives: dict[str, Path], releases: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Odd]:
    witness = tmp_path_factory.mktemp("witness") / "forwards"
    release = write_release(
        releases,
        archives["odd"],
        environment={"ODD_WITNESS": str(witness)},
        request_timeout_ms=30_000,
    )
    with release_server(releases, release) as server:
        yield Odd(server, witness)


def test_every_answer_of_a_prediction_tells_its_stages(odd: Odd) -> None:
    assert re.fullmatch(STAGES, odd.ask(0).headers["Server-Timing"])
    failed = odd.ask(-1)
    assert failed.status == 500
    assert re.match(r"queue;dur=[\d.]+, preprocess;", failed.headers["Server-Timing"])
    assert "Server-Timing" not in odd.server.request("GET", "/odd/ping").headers


def test_the_queue_of_the_kernel_is_a_stage(odd: Odd) -> None:
    with odd.busy():
        answer = odd.ask(0)
    queue_ms = float(answer.headers["Server-Timing"].split("queue;dur=")[1].split(",")[0])
    assert BUSY_S * 1000 / 3 < queue_ms < BUSY_S * 1000


def test_a_late_request_is_refused_and_not_computed(odd: Odd) -> None:
    with odd.busy():
        before = odd.forwards()
        answer = odd.ask(0, timeout_ms=200)
    assert answer.status == 503
    assert answer.headers["Retry-After"] == "1"
    assert b"would miss its limit of 0.2 s" in answer.body
    # The one that kept the worker busy, and no other.
    assert odd.forwards() == before + 1


def test_a_request_that_is_in_time_is_computed(odd: Odd) -> None:
    with odd.busy():
        assert odd.ask(0, timeout_ms=5000).status == 200


def test_the_model_has_a_time_for_clients_that_say_nothing(odd: Odd) -> None:
    body, kind = multipart({"order": b"[[0]]"})
    old = f"{time.time() - 31:.3f} 0.000"
    headers = {"Content-Type": kind, "X-Mms-Times": old}
    assert odd.server.request("POST", "/predictions/odd", body, headers).status == 503
    longer = {**headers, "X-Request-Timeout-Ms": "60000"}
    assert odd.server.request("POST", "/predictions/odd", body, longer).status == 200


def test_a_time_that_is_none_is_a_bad_request(odd: Odd) -> None:
    body, kind = multipart({"order": b"[[0]]"})
    headers = {"Content-Type": kind, "X-Request-Timeout-Ms": "soon"}
    answer = odd.server.request("POST", "/predictions/odd", body, headers)
    assert answer.status == 400
    assert "whole number of milliseconds" in answer.json["message"]


def test_a_request_whose_client_is_gone_is_not_computed(odd: Odd) -> None:
    body, kind = multipart({"order": b"[[0]]"})
    head = (
        f"POST /odd/predict HTTP/1.0\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    before = odd.forwards()
    with odd.busy():
        lost = odd.server.connect()
        lost.sendall(head.encode() + body)
        lost.close()
    assert odd.ask(0).status == 200
    # The one that kept the worker busy, and this one: the queue is first in, first out.
    until(lambda: odd.forwards() >= before + 2)
    assert odd.forwards() == before + 2
