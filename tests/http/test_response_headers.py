"""Headers of answers through nginx: the same by the role's server block and by one of your own."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Callable, Iterator

import pytest

from mms_server.core.paths import Layout
from tests.bench.edge import nginx, programs
from tests.fixtures.servers import ROOT, WAIT_S, UnixConnection, control_server
from tests.ports import free_port

HEADERS = {"X-Content-Type-Options": "nosniff", "X-Of-This-Host": "a b"}
VARIABLES = {
    "nginx_proxy_headers": HEADERS,
    "nginx_proxy_require_key": True,
    "nginx_proxy_max_body": "1k",
    "nginx_proxy_models": [{"name": "slow", "rate": "1r/m"}],
}
OWN_BLOCK = """\
server {{
    listen 127.0.0.1:{port};
    # The router refuses what is too large.
    client_max_body_size 1m;
    location / {{
        proxy_pass http://unix:{router};
    }}
}}
"""

Ask = Callable[[str, str, bytes], http.client.HTTPResponse]


@pytest.fixture(scope="module", params=["the role's block", "the router", "a block of one's own"])
def ask(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Ask nginx by one of the ways through it."""
    # Short: a Unix socket's path has at most 107 bytes.
    place, port = tmp_path_factory.mktemp("h"), free_port()
    router = place / "router.sock"
    Layout.under(place).run.mkdir(parents=True)
    own = OWN_BLOCK.format(port=port, router=router) if "own" in request.param else ""

    def asked(method: str, path: str, body: bytes = b"") -> http.client.HTTPResponse:
        connection = (
            UnixConnection(router, WAIT_S)
            if "router" in request.param
            else http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
        )
        with contextlib.closing(connection):
            connection.request(method, path, body)
            response = connection.getresponse()
            response.read()
            return response

    with (
        control_server(place),
        nginx(place, port, programs(ROOT / "build" / "bench"), **VARIABLES, nginx_proxy_edge=own),
    ):
        yield asked


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/ping", b"", 503),
        ("GET", "/metrics", b"", None),
        ("GET", "/models", b"", 401),
        ("POST", "/any/predict", b"x" * 2000, 413),
        ("POST", "/slow/predict", b"", 429),
    ],
)
def test_each_header_is_there_once(
    ask: Ask, method: str, path: str, body: bytes, status: int | None
) -> None:
    response = ask(method, path, body)
    if status == 429:
        response = ask(method, path, body)
    assert status in {response.status, None}
    names = [name.lower() for name, _value in response.getheaders()]
    assert len(set(names)) == len(names), names
    for name, value in HEADERS.items():
        assert response.headers[name] == value
    assert response.headers["X-Request-Id"]
    assert (response.headers["Retry-After"] is not None) == (status == 429)
    assert response.headers["WWW-Authenticate"] == ("Bearer" if status == 401 else None)
