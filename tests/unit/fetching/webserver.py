"""A web server that answers as a script says, and a fetcher that never really waits."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from mms_server.fetching.fetcher import Fetcher, Limits, Open, open_source
from mms_server.fetching.http import HttpSource
from mms_server.fetching.replies import Source
from mms_server.fetching.rules import Rules
from mms_server.locations import Location

MIB = 1024 * 1024
READ_TIMEOUT_S = 0.5

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Web:
    """``answers`` are used one by one, the last one for ever; ``requests`` are their headers."""

    port: int = 0
    answers: list[Answer] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    server: ThreadingHTTPServer | None = None

    def use_tls(self, context: ssl.SSLContext) -> None:
        """Speak TLS from now on."""
        assert self.server is not None
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)

    def url(self, path: str = "/a.model") -> str:
        return f"http://127.0.0.1:{self.port}{path}"


@contextmanager
def served() -> Iterator[Web]:
    """Run a web server on a free port."""
    state = Web()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.close_connection = True
            state.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
            answer = state.answers.pop(0) if len(state.answers) > 1 else state.answers[0]
            answer(self)

        def log_message(self, *_: Any) -> None:
            """Keep the tests' output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.port = server.server_address[1]
    state.server = server
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@dataclass
class Waits:
    """Time that passes only by sleeping."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@dataclass
class Bench:
    """A fetcher with its surroundings."""

    directory: Path
    waits: Waits = field(default_factory=Waits)
    reports: list[str] = field(default_factory=list)
    words: tuple[str, ...] = ("127.0.0.1",)
    max_bytes: int = 8 * MIB
    timeout_s: float = 600.0
    source: Open | None = None

    @property
    def fetcher(self) -> Fetcher:
        return Fetcher(
            self.directory,
            Rules(self.words),
            Limits(self.max_bytes, self.timeout_s),
            self.reports.append,
            source=self.source or _impatient,
            clock=self.waits.clock,
            sleep=self.waits.sleep,
            jitter=lambda: 1.0,
        )

    def left(self) -> set[str]:
        """Return the kinds of files that are there."""
        return {path.name.split(".", 1)[1] for path in self.directory.glob("*.*")}


def _impatient(location: Location, rules: Rules) -> Source:
    if location.scheme == "s3":
        return open_source(location, rules)
    return HttpSource(location, rules, read_timeout_s=READ_TIMEOUT_S)
