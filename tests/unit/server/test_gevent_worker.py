"""A connection buffers an answer until it is complete, up to 128 KiB."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from mms_server.server.gevent_worker import MAX_BUFFERED_BYTES, BufferedConnection

Pair = tuple[BufferedConnection, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    theirs.settimeout(5)
    with ours, theirs:
        yield BufferedConnection(ours), theirs


def has_arrived(theirs: socket.socket) -> bool:
    theirs.setblocking(False)
    try:
        return bool(theirs.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
    finally:
        theirs.settimeout(5)


def test_head_and_body_leave_together(pair: Pair) -> None:
    answer, theirs = pair
    answer.sendall(b"head")
    answer.sendall(b"body")
    assert not has_arrived(theirs)
    answer.flush()
    assert theirs.recv(100) == b"headbody"


def test_close_and_shutdown_send_the_rest(pair: Pair) -> None:
    answer, theirs = pair
    answer.sendall(b"one")
    answer.shutdown(socket.SHUT_WR)
    assert theirs.recv(100) == b"one"
    assert theirs.recv(100) == b""
    answer.close()
    assert answer.fileno() == -1


def test_send_is_not_buffered(pair: Pair) -> None:
    answer, theirs = pair
    answer.send(b"HTTP/1.1 100 Continue")
    assert theirs.recv(100) == b"HTTP/1.1 100 Continue"


@pytest.mark.parametrize(
    ("size", "sent"), [(MAX_BUFFERED_BYTES, False), (MAX_BUFFERED_BYTES + 1, True)]
)
def test_a_large_answer_is_sent_before_the_flush(pair: Pair, size: int, *, sent: bool) -> None:
    answer, theirs = pair
    answer.sendall(b"x" * size)
    assert has_arrived(theirs) == sent


def test_a_connection_is_closed_though_its_client_is_gone(pair: Pair) -> None:
    answer, theirs = pair
    theirs.close()
    answer.sendall(b"late")
    with pytest.raises(OSError, match="Broken pipe"):
        answer.close()
    assert answer.fileno() == -1
