"""Clients of one release on its own socket, each with one request under way."""

from __future__ import annotations

import http.client
import math
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mms_server.tuning.search import Window

_LIMIT_S: Final = 30.0
_OK: Final = 200


@dataclass(frozen=True)
class Question:
    """A request that is repeated: its path, body and content type."""

    path: str
    body: bytes
    content_type: str


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_LIMIT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def window(
    path: Path,
    questions: Sequence[Question],
    connections: int,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> Window:
    """Return what so many clients see on a socket for some seconds."""
    taken: list[list[float]] = [[] for _ in range(connections)]
    failed = [0] * connections
    until = clock() + seconds

    def ask(number: int) -> None:
        at = number
        while clock() < until:
            began = clock()
            if _asked(path, questions[at % len(questions)]):
                taken[number].append(clock() - began)
            else:
                failed[number] += 1
            at += 1

    began = clock()
    threads = [
        threading.Thread(target=ask, args=(number,), daemon=True) for number in range(connections)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join(seconds + 2 * _LIMIT_S)
    lasted = clock() - began
    every = sorted(one for each in taken for one in each)
    if not every:
        return Window(0.0, math.inf, math.inf, sum(failed) or 1)
    return Window(len(every) / lasted, _ms(every, 0.5), _ms(every, 0.99), sum(failed))


def _ms(ordered: Sequence[float], share: float) -> float:
    return 1000 * ordered[max(math.ceil(share * len(ordered)), 1) - 1]


def _asked(path: Path, question: Question) -> bool:
    """Ask once, and return whether it was answered."""
    connection = _Connection(path)
    with closing(connection):
        try:
            headers = {"Content-Type": question.content_type}
            connection.request("POST", question.path, question.body, headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            return False
        return answer.status == _OK
