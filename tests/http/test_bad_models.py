"""Each animal of the zoo on a real release: contained, certified, and others are answered."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mms_server.core.paths import Layout
from mms_server.crashes.report import Certificate
from mms_server.host.instance_files import InstanceFiles
from mms_server.host.process_liveness import live_slots
from tests.fixtures import bad_models
from tests.fixtures.bad_models import ANIMALS, BAD, GOOD, Outcome, Where
from tests.fixtures.servers import Answer, Server, release_server, until, write_release

WATCHDOG_S = 5
TIMEOUT_S = 3.0


@contextmanager
def keep(name: str, root: Path, **changes: Any) -> Iterator[tuple[Server, InstanceFiles]]:
    """Serve an animal, with two workers unless said otherwise."""
    wait = changes.pop("wait", True)
    notify = changes.pop("notify", None)
    settings = {
        "workers": 2,
        "watchdog_s": WATCHDOG_S,
        "predict_timeout_s": TIMEOUT_S,
        "worker_memory_max_bytes": 0,
        "gunicorn_args": ("--graceful-timeout", "3"),
    }
    release = write_release(root, bad_models.build(name, root), **{**settings, **changes})
    instance_files = InstanceFiles(Layout.under(root).instance(release.id))
    with release_server(root, release, wait=wait, notify=notify) as server:
        if wait:
            until(lambda: len(live_slots(server.alive)) == release.workers + 1)
        yield server, instance_files


def ask(server: Server, order: int, request_id: str = "") -> Answer:
    headers = {"X-Request-Id": request_id} if request_id else {}
    name = server.log.name.partition(".")[0]
    return server.predict(name, {"order": f"[[{order}]]".encode()}, **headers)


def ask_and_lose(server: Server, order: int, request_id: str) -> None:
    with pytest.raises((ConnectionError, OSError)):
        ask(server, order, request_id)


def certificates(instance_files: InstanceFiles) -> list[Certificate]:
    files = sorted(instance_files.deaths.iterdir())
    return [Certificate.from_json(file.read_bytes()) for file in files]


def of(outcome: Outcome, *, where: Where = Where.PREDICT, limited: bool = False) -> list[str]:
    return [
        name
        for name in bad_models.names(where)
        if ANIMALS[name].outcome is outcome and ANIMALS[name].limited is limited
    ]


@pytest.fixture
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Short: a Unix socket's path has at most 107 bytes.
    return tmp_path_factory.mktemp("z")


@pytest.mark.parametrize("name", of(Outcome.WORKER_DIES))
def test_a_worker_that_dies_leaves_one_certificate(name: str, root: Path) -> None:
    animal = ANIMALS[name]
    with keep(name, root) as (server, instance_files):
        if animal.status == 504:
            assert ask(server, BAD, "the-bad").status == 504
        else:
            ask_and_lose(server, BAD, "the-bad")
        # The other worker answers, and the successor too.
        assert [ask(server, GOOD).status for _ in range(3)] == [200] * 3
        until(lambda: certificates(instance_files), 10)
        until(lambda: len(server.workers()) == 2, 10)
        (found,) = certificates(instance_files)
    assert (found.cause, found.signal) == (animal.cause, animal.signal)
    assert found.exit_code == animal.exit_code
    assert (found.role, found.model, found.release) == ("worker", name, server.place.stem)
    (request,) = found.requests
    assert request.id == "the-bad"
    assert len(request.digest) == 64
    assert found.peak_bytes > found.resident_bytes > 1024 * 1024
    if name not in ("quiet-exit", "loud-exit"):
        assert "zoo_service.py" in found.stack, "the stack shows where"
    # The orderly end of the server is no death.
    assert len(certificates(instance_files)) == 1


@pytest.mark.parametrize("name", of(Outcome.ERROR))
def test_an_error_costs_no_worker(name: str, root: Path) -> None:
    with keep(name, root, workers=1, watchdog_s=30, predict_timeout_s=25.0) as (
        server,
        instance_files,
    ):
        before = server.workers()
        answer = ask(server, BAD)
        assert answer.status == ANIMALS[name].status
        assert b"secret" not in answer.body
        assert ask(server, GOOD).status == 200
        assert server.workers() == before
        assert certificates(instance_files) == []


@pytest.mark.parametrize("name", of(Outcome.ANSWERS))
def test_odd_behaviour_is_contained(name: str, root: Path) -> None:
    with keep(name, root, workers=1) as (server, instance_files):
        assert ask(server, BAD).status == 200
        assert [ask(server, GOOD).status for _ in range(3)] == [200] * 3
        begun = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(20)
        assert time.monotonic() - begun < 10, "its end is bounded"
        left = certificates(instance_files)
    assert live_slots(server.alive) == ()
    if name == "ignores-sigterm":
        assert [row.cause for row in left] == ["stop"]
    else:
        assert left == []


@pytest.mark.parametrize(
    "where", [Where.IMPORT, Where.LOAD, Where.WARM_UP, Where.GOLDEN], ids=lambda w: w.value
)
def test_what_fails_before_it_serves_is_never_ready(where: Where, root: Path) -> None:
    for name in of(Outcome.NEVER_READY, where=where):
        notify = root / f"{name}.notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
            told.bind(str(notify))
            told.setblocking(False)
            with keep(name, root, wait=False, notify=notify) as (server, instance_files):
                code = server.process.wait(40)
            assert code != 0
            assert code == (ANIMALS[name].exit_code or -signal.SIGSEGV)
            with pytest.raises(BlockingIOError):
                told.recv(4096)
        if ANIMALS[name].signal:
            assert "zoo_service.py" in instance_files.stack("master").read_text()
        assert live_slots(server.alive) == ()
