"""A small load balancer that stands for that of AWS: it follows its targets and their health.

It requests ``/ping`` of all targets every 0.5 s, and sends requests to those that answer 200, in
turn. A target that is deregistered gets no new request and completes those that it has.
"""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# A target's name, and its address and port.
Targets = dict[str, tuple[str, int]]
EVERY_S = 0.5
REQUEST_S = 90
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "host"}


def answers_ping(address: tuple[str, int]) -> bool:
    connection = http.client.HTTPConnection(*address, timeout=5)
    try:
        connection.request("GET", "/ping", headers={"User-Agent": "ELB-HealthChecker/2.0"})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class Balancer:
    """Serves at an address until it is closed.

    Every 0.5 s it calls ``targets``, and then ``tell`` with the states of all targets.
    """

    def __init__(
        self,
        listen: tuple[str, int],
        targets: Callable[[], Targets],
        tell: Callable[[dict[str, str]], None] = lambda _states: None,
    ) -> None:
        self._targets = targets
        self._tell = tell
        self._healthy: list[tuple[str, tuple[str, int]]] = []
        self._turn = 0
        self._under_way: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        balancer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                balancer._pass_on(self)

            do_POST = do_GET  # noqa: N815 - named by http.server

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(listen, Handler)
        self._threads = [
            threading.Thread(target=self._server.serve_forever, daemon=True),
            threading.Thread(target=self._follow, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()
        for thread in self._threads:
            thread.join(timeout=10)

    def _health(self, wanted: set[str]) -> dict[str, str]:
        """Return the state of each target, by AWS' names."""
        with self._lock:
            healthy = {name for name, _ in self._healthy}
            busy = {name for name, count in self._under_way.items() if count}
        states = {name: "healthy" if name in healthy else "unhealthy" for name in wanted}
        return states | dict.fromkeys(busy - wanted, "draining")

    def _follow(self) -> None:
        while not self._closed.wait(EVERY_S):
            wanted = self._targets()
            healthy = [each for each in sorted(wanted.items()) if answers_ping(each[1])]
            with self._lock:
                self._healthy = healthy
            self._tell(self._health(set(wanted)))

    def _next(self) -> tuple[str, tuple[str, int]] | None:
        with self._lock:
            if not self._healthy:
                return None
            self._turn += 1
            chosen = self._healthy[self._turn % len(self._healthy)]
            self._under_way[chosen[0]] += 1
            return chosen

    def _pass_on(self, client: BaseHTTPRequestHandler) -> None:
        body = client.rfile.read(int(client.headers.get("Content-Length", 0)))
        chosen = self._next()
        if chosen is None:
            send(client, 503, {}, b"no healthy target\n")
            return
        name, address = chosen
        headers = {k: v for k, v in client.headers.items() if k.lower() not in HOP_BY_HOP}
        headers["Host"] = client.headers.get("Host", "balancer")
        connection = http.client.HTTPConnection(*address, timeout=REQUEST_S)
        try:
            connection.request(client.command, client.path, body or None, headers)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            send(client, 502, {}, f"{name}: {error!r}\n".encode())
        else:
            send(client, answer.status, dict(answer.headers.items()), content)
        finally:
            connection.close()
            with self._lock:
                self._under_way[name] -= 1


def send(client: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes) -> None:
    client.send_response(status)
    for name, value in headers.items():
        if name.lower() not in HOP_BY_HOP | {"content-length", "date", "server"}:
            client.send_header(name, value)
    client.send_header("Content-Length", str(len(body)))
    client.end_headers()
    client.wfile.write(body)
