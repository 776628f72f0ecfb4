"""Load generator: closed-loop clients of one release, on the release's own socket.

Each client sends its next request when the previous one is answered.
"""

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

_TIMEOUT_S: Final = 30.0
_OK: Final = 200


@dataclass(frozen=True)
class Request:
    """A POST request that clients repeat: its path, body and content type."""

    path: str
    body: bytes
    content_type: str


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def measure_window(
    socket_path: Path,
    requests: Sequence[Request],
    connections: int,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> Window:
    """Send requests from ``connections`` clients for some seconds; return rate and latencies."""
    latencies: list[list[float]] = [[] for _ in range(connections)]
    failed = [0] * connections
    end = clock() + seconds

    def run_client(number: int) -> None:
        index = number
        while clock() < end:
            sent = clock()
            if _send(socket_path, requests[index % len(requests)]):
                latencies[number].append(clock() - sent)
            else:
                failed[number] += 1
            index += 1

    began = clock()
    threads = [
        threading.Thread(target=run_client, args=(number,), daemon=True)
        for number in range(connections)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds + 2 * _TIMEOUT_S)
    elapsed = clock() - began
    ordered = sorted(latency for of_client in latencies for latency in of_client)
    if not ordered:
        return Window(0.0, math.inf, math.inf, sum(failed) or 1)
    return Window(
        len(ordered) / elapsed,
        _percentile_ms(ordered, 0.5),
        _percentile_ms(ordered, 0.99),
        sum(failed),
    )


def _percentile_ms(ordered_s: Sequence[float], share: float) -> float:
    return 1000 * ordered_s[max(math.ceil(share * len(ordered_s)), 1) - 1]


def _send(socket_path: Path, request: Request) -> bool:
    """Send a request; return whether the answer has status 200."""
    connection = _Connection(socket_path)
    with closing(connection):
        try:
            headers = {"Content-Type": request.content_type}
            connection.request("POST", request.path, request.body, headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            return False
        return answer.status == _OK
