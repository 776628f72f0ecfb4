"""The probe of a release, on real Unix sockets."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mms_server.core.errors import ProbeError
from mms_server.deploy.socket_probe import probe


@contextmanager
def _listening(path: Path, backlog: int = 5) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(backlog)
        server.settimeout(10)
        yield server


def _answer_one(server: socket.socket, answer: bytes, seen: list[bytes]) -> None:
    connection, _address = server.accept()
    with connection:
        seen.append(connection.recv(4096))
        connection.sendall(answer)


@contextmanager
def _answering(path: Path, answer: bytes) -> Iterator[list[bytes]]:
    seen: list[bytes] = []
    with _listening(path) as server:
        thread = threading.Thread(target=_answer_one, args=(server, answer, seen))
        thread.start()
        yield seen
        thread.join(timeout=10)


def test_an_answer(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    with _answering(path, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}") as seen:
        probe(path, "digits", 5)
    assert seen[0].startswith(b"GET /digits/ping HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", "with 500 Oops"),
        (b"", "did not answer"),
        (b"nonsense\r\n\r\n", "did not answer"),
    ],
)
def test_bad_answers(tmp_path: Path, answer: bytes, cause: str) -> None:
    path = tmp_path / "s.sock"
    with _answering(path, answer), pytest.raises(ProbeError, match=cause) as caught:
        probe(path, "m", 5)
    assert caught.value.fix


def test_no_socket(tmp_path: Path) -> None:
    with pytest.raises(ProbeError, match="No such file"):
        probe(tmp_path / "none.sock", "m", 5)


def test_a_silent_server_times_out(tmp_path: Path) -> None:
    begin = time.monotonic()
    with _listening(tmp_path / "s.sock"), pytest.raises(ProbeError, match="timed out"):
        probe(tmp_path / "s.sock", "m", 0.2)
    assert time.monotonic() - begin < 5


def test_a_full_backlog_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    seen: list[bytes] = []
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

    def make_room(server: socket.socket) -> None:
        time.sleep(0.2)
        server.accept()[0].close()
        _answer_one(server, answer, seen)

    with _listening(path, backlog=0) as server, socket.socket(socket.AF_UNIX) as first:
        first.connect(str(path))
        thread = threading.Thread(target=make_room, args=(server,))
        thread.start()
        probe(path, "m", 10)
        thread.join(timeout=10)
    assert len(seen) == 1


def test_a_full_backlog_times_out(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    with _listening(path, backlog=0), socket.socket(socket.AF_UNIX) as first:
        first.connect(str(path))
        with pytest.raises(ProbeError, match="did not answer"):
            probe(path, "m", 0.2)
