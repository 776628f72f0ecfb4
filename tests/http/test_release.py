"""Tests of a release server as systemd starts it: readiness, worker replacement, stop, logs."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mms_server.core.log_setup import Log
from mms_server.host.process_liveness import live_slots
from tests.fixtures.servers import BIN, Answer, Server, release_server, until, write_release


@pytest.fixture(scope="session")
def scripted(archives: dict[str, Path], releases: Path) -> Iterator[Server]:
    release = write_release(
        releases,
        archives["scripted"],
        workers=2,
        predict_timeout_s=1.5,
        environment={"FROM_CONF": "yes"},
        gunicorn_args=("--limit-request-line", "0"),
    )
    with release_server(releases, release) as server:
        until(lambda: len(live_slots(server.alive)) == 3)
        yield server


def order(server: Server, seconds: float) -> Answer:
    return server.predict("scripted", {"order": f"[[{seconds}]]".encode()})


def test_a_release_answers_on_its_socket(scripted: Server) -> None:
    assert order(scripted, 0).status == 200
    assert scripted.request("GET", "/scripted/ping").json == {"health": "healthy!"}
    assert scripted.request("GET", "/ping").status == 404


def test_the_environment_is_an_allow_list(scripted: Server) -> None:
    seen = order(scripted, 0).json["prediction"]["environment"]
    assert seen["FROM_CONF"] == "yes"
    assert seen["OMP_NUM_THREADS"] == "1"
    assert "SECRET" not in seen


def test_slow_requests_go_to_different_workers(scripted: Server) -> None:
    pids = set()
    threads = [
        threading.Thread(target=lambda: pids.add(order(scripted, 0.5).json["prediction"]["pid"]))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(pids) == 2


def test_a_killed_worker_is_replaced(scripted: Server) -> None:
    for _ in range(3):
        before = live_slots(scripted.alive)
        victim = scripted.workers()[0]
        os.kill(victim, signal.SIGKILL)
        killed = time.monotonic()
        assert order(scripted, 0).status == 200
        until(lambda: _replaced(scripted, before))  # noqa: B023 - called in this iteration only
        assert time.monotonic() - killed < 1
        assert victim not in scripted.workers()


def _replaced(server: Server, before: tuple[int, ...]) -> bool:
    slots = live_slots(server.alive)
    return slots != before and len(slots) == 3


def test_an_answer_leaves_in_one_piece(scripted: Server) -> None:
    """If a worker died between head and body, nginx could not send the request again."""
    for path in ("/scripted/ping", "/unknown"):
        for _ in range(20):
            with scripted.connect() as connection:
                connection.sendall(f"GET {path} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
                head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
                length = re.search(rb"Content-Length: (\d+)", head)
                assert length is not None
                assert len(body) == int(length[1]) > 0


def test_after_a_timeout_the_worker_is_replaced(scripted: Server) -> None:
    before = scripted.workers()
    started = time.monotonic()
    answer = order(scripted, 60)
    assert answer.status == 504
    assert b"<p>The prediction took longer than 1.5 s.</p>" in answer.body
    assert time.monotonic() - started < 2.5

    def one_is_new() -> bool:
        workers = scripted.workers()
        return len(workers) == 2 and len(set(workers) - set(before)) == 1

    until(one_is_new, 8)
    assert [order(scripted, 0).status for _ in range(4)] == [200] * 4


def test_a_stop_answers_requests_in_flight(
    archives: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("end")
    release = write_release(root, archives["scripted"])
    with release_server(root, release) as server:
        answers: list[Answer] = []
        thread = threading.Thread(target=lambda: answers.append(order(server, 1.5)))
        thread.start()
        time.sleep(0.5)
        server.process.send_signal(signal.SIGTERM)
        thread.join(20)
        assert [answer.status for answer in answers] == [200]
        assert server.process.wait(10) == 0
    assert live_slots(server.alive) == ()


def test_readiness_is_reported_after_a_forward(
    archives: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("ready")
    log, path = root / "forwards", root / "notify.sock"
    release = write_release(root, archives["scripted"], environment={"FORWARD_LOG": str(log)})
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(path))
        notify.settimeout(30)
        with release_server(root, release, wait=False, notify=path) as server:
            assert b"READY=1" in notify.recv(4096).split(b"\n")
            assert log.read_text() == "forward\n"
            until(lambda: live_slots(server.alive) == (0, 1), 2)


@pytest.mark.parametrize(
    ("model", "file", "content"),
    [
        ("scripted", "scripted_service.py", b"import no_such_module\n"),
        ("scripted", "scripted_service.py", b"raise SystemExit(0)\n"),
        ("pair", "pair-0000.params", b"damaged"),
        ("colors", "signature.json", None),
    ],
    ids=["import", "exit", "parameters", "shape"],
)
def test_a_broken_model_is_never_ready(
    archives: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
    model: str,
    file: str,
    content: bytes | None,
) -> None:
    root = tmp_path_factory.mktemp("broken")
    release = write_release(root, archives[model])
    damaged = root / "var/lib/mms/store" / release.archive_sha256 / file
    damaged.write_bytes(content or damaged.read_bytes().replace(b"[0, 3, 8, 8]", b"[0, 3]"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(root / "notify.sock"))
        notify.setblocking(False)
        with release_server(root, release, wait=False, notify=root / "notify.sock") as server:
            assert server.process.wait(30) != 0
        with pytest.raises(BlockingIOError):
            notify.recv(4096)
    log = server.log.read_text()
    assert len([line for line in log.splitlines() if "Fix:" in line]) == 1
    assert "Traceback" not in log
    assert live_slots(server.alive) == ()


def test_a_release_without_its_socket_does_not_start(
    archives: dict[str, Path], tmp_path: Path
) -> None:
    release = write_release(tmp_path, archives["pair"])
    for name in (release.id, "pair.00000000"):
        command = [str(BIN / "mms-release-server"), name, "--layout-root", str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 2
        assert "Fix:" in done.stderr
        assert "Traceback" not in done.stderr


def test_all_processes_write_to_the_log_file(
    archives: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("log")
    file = root / "var/log/mms/mms_app.log"
    release = write_release(root, archives["scripted"], workers=2, log=Log("INFO", str(file)))
    with release_server(root, release) as server:
        for _ in range(4):
            assert order(server, -1).status == 500
    lines = file.read_text().splitlines()
    heads = [line for line in lines if line.startswith("[ERROR ")]
    assert len(heads) == 4
    pattern = (
        r"\[ERROR [0-9-]+ [0-9:,]+ PID:\d+ \S+servable\.py:_run:\d+\] "
        r"request \w+: model scripted failed"
    )
    assert all(re.fullmatch(pattern, line) for line in heads)
    assert "model scripted failed" in server.log.read_text()


def test_a_log_file_that_cannot_be_written_is_an_error(
    archives: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("bad")
    (root / "file").write_text("in the way")
    log = Log("INFO", str(root / "file" / "mms_app.log"))
    release = write_release(root, archives["scripted"], log=log)
    with release_server(root, release, wait=False) as server:
        assert server.process.wait(30) != 0
    text = server.log.read_text()
    assert "mms_app.log cannot be written: " in text
    assert "Fix: give another path with --log-file." in text
    assert "Traceback" not in text
