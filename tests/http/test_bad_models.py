"""Tests of every bad model on a real release server: its expected outcome, and no other harm."""

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
from tests.fixtures.bad_models import BAD, BAD_MODELS, GOOD, Outcome, Where
from tests.fixtures.servers import Answer, Server, release_server, until, write_release

WATCHDOG_S = 5
TIMEOUT_S = 3.0


@contextmanager
def serve(name: str, root: Path, **changes: Any) -> Iterator[tuple[Server, InstanceFiles]]:
    """Serve a bad model; ``changes`` are fields of the release that are not the defaults below."""
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


def ask_without_answer(server: Server, order: int, request_id: str) -> None:
    """Send a request whose worker dies, so that the connection breaks."""
    with pytest.raises((ConnectionError, OSError)):
        ask(server, order, request_id)


def certificates(instance_files: InstanceFiles) -> list[Certificate]:
    files = sorted(instance_files.deaths.iterdir())
    return [Certificate.from_json(file.read_bytes()) for file in files]


def names_of(outcome: Outcome, *, where: Where = Where.PREDICT, limited: bool = False) -> list[str]:
    return [
        name
        for name in bad_models.names(where)
        if BAD_MODELS[name].outcome is outcome and BAD_MODELS[name].limited is limited
    ]


@pytest.fixture
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # The path of a Unix socket has at most 107 bytes.
    return tmp_path_factory.mktemp("z")


@pytest.mark.parametrize("name", names_of(Outcome.WORKER_DIES))
def test_a_worker_that_dies_leaves_one_certificate(name: str, root: Path) -> None:
    bad_model = BAD_MODELS[name]
    with serve(name, root) as (server, instance_files):
        if bad_model.status == 504:
            assert ask(server, BAD, "the-bad").status == 504
        else:
            ask_without_answer(server, BAD, "the-bad")
        # The other worker answers, and the successor too.
        assert [ask(server, GOOD).status for _ in range(3)] == [200] * 3
        until(lambda: certificates(instance_files), 10)
        until(lambda: len(server.workers()) == 2, 10)
        (found,) = certificates(instance_files)
    assert (found.cause, found.signal) == (bad_model.cause, bad_model.signal)
    assert found.exit_code == bad_model.exit_code
    assert (found.role, found.model, found.release) == ("worker", name, server.place.stem)
    (request,) = found.requests
    assert request.id == "the-bad"
    assert len(request.digest) == 64
    assert found.peak_bytes > found.resident_bytes > 1024 * 1024
    if name not in ("quiet-exit", "loud-exit"):
        assert "bad_service.py" in found.stack, "the stack names the file"
    # A stop of the server leaves no certificate.
    assert len(certificates(instance_files)) == 1


@pytest.mark.parametrize("name", names_of(Outcome.ERROR))
def test_an_error_does_not_end_the_worker(name: str, root: Path) -> None:
    with serve(name, root, workers=1, watchdog_s=30, predict_timeout_s=25.0) as (
        server,
        instance_files,
    ):
        before = server.workers()
        answer = ask(server, BAD)
        assert answer.status == BAD_MODELS[name].status
        assert b"secret" not in answer.body
        assert ask(server, GOOD).status == 200
        assert server.workers() == before
        assert certificates(instance_files) == []


@pytest.mark.parametrize("name", names_of(Outcome.ANSWERS))
def test_other_misbehaviour_is_contained(name: str, root: Path) -> None:
    with serve(name, root, workers=1) as (server, instance_files):
        assert ask(server, BAD).status == 200
        assert [ask(server, GOOD).status for _ in range(3)] == [200] * 3
        begun = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(20)
        assert time.monotonic() - begun < 10, "a stop takes a bounded time"
        found = certificates(instance_files)
    assert live_slots(server.alive) == ()
    if name == "ignores-sigterm":
        assert [row.cause for row in found] == ["stop"]
    else:
        assert found == []


@pytest.mark.parametrize(
    "where", [Where.IMPORT, Where.LOAD, Where.WARM_UP, Where.GOLDEN], ids=lambda w: w.value
)
def test_a_model_that_fails_before_serving_is_never_ready(where: Where, root: Path) -> None:
    for name in names_of(Outcome.NEVER_READY, where=where):
        notify = root / f"{name}.notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
            notified.bind(str(notify))
            notified.setblocking(False)
            with serve(name, root, wait=False, notify=notify) as (server, instance_files):
                code = server.process.wait(40)
            assert code != 0
            assert code == (BAD_MODELS[name].exit_code or -signal.SIGSEGV)
            with pytest.raises(BlockingIOError):
                notified.recv(4096)
        if BAD_MODELS[name].signal:
            assert "bad_service.py" in instance_files.stack("master").read_text()
        assert live_slots(server.alive) == ()
