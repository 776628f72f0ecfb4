"""Fixtures: one emulator for all tests, with an empty account for each test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.aws.account import Account


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    account = Account.start(tmp_path_factory.mktemp("emulator"))
    yield account
    account.stop()


@pytest.fixture
def account(emulator: Account) -> Account:
    emulator.empty()
    return emulator


class Healthy(BaseHTTPRequestHandler):
    """Stands for a host's nginx: it answers health checks."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/ping" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="session")
def healthy_host() -> Iterator[tuple[str, int]]:
    """The address of a server that answers health checks."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Healthy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield ("127.0.0.1", server.server_address[1])
        server.shutdown()
