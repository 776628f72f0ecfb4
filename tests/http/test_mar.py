"""Tests of 1.x archives on a real server: function handlers, class handlers, services of 0.4."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.fixtures import mars
from tests.fixtures.servers import Server, release_server, standalone, write_release

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("mars")
    makers = (mars.mirror, mars.doubler, mars.legacy)
    archives = {maker.__name__: maker(directory) for maker in makers}
    with standalone(directory, archives) as running:
        yield running


def test_a_row_has_the_form_fields_and_the_query(server: Server) -> None:
    fields = {"a": b"text", "b": ("b.bin", "application/octet-stream", b"\x00\xff")}
    answer = server.post_form("/predictions/mirror?q=1&a=hidden", fields)
    assert answer.status == 200
    assert answer.json["row"] == {"a": "text", "b": "\x00\xff", "q": "1"}
    assert (answer.json["greeting"], answer.json["loaded"]) == ("hi", 1)
    assert answer.json["gpu"] is None
    assert answer.json["id"] == answer.headers["X-Request-Id"]


def test_a_row_has_the_body_and_parsed_json(server: Server) -> None:
    raw = server.request("POST", "/predictions/mirror", b"\x01", {"User-Agent": "us"})
    assert (raw.json["row"], raw.json["agent"]) == ({"body": "\x01"}, "us")
    parsed = server.request("POST", "/predictions/mirror", b'{"x": [1, null]}', JSON)
    assert parsed.json["row"] == {"body": {"x": [1, None]}}


def test_a_handler_sets_body_type_headers_and_status(server: Server) -> None:
    raw = server.request("POST", "/predictions/mirror?do=raw", b"")
    assert (raw.body, raw.headers["Content-Type"]) == (b"bytes", "image/png")
    assert raw.headers["X-Own"] == "yes"
    text = server.request("POST", "/predictions/mirror?do=text", b"")
    assert text.body == b"words"
    status = server.request("POST", "/predictions/mirror?do=status", b"")
    assert (status.status, status.json) == (418, {"teapot": True})
    # Settings of one answer do not affect the next.
    assert server.request("POST", "/predictions/mirror", b"x").status == 200


def test_exceptions_of_a_handler(server: Server) -> None:
    refused = server.request("POST", "/predictions/mirror?do=refuse", b"")
    assert (refused.status, refused.json["message"]) == (503, "no such luck")
    for order in ("raise", "many"):
        failed = server.request("POST", f"/predictions/mirror?do={order}", b"")
        assert failed.status == 500
        assert b"secret" not in failed.body
    bad = server.request("POST", "/predictions/mirror", b"{", JSON)
    assert bad.status == 400


def test_the_route_of_0_4_wraps_the_answer(server: Server) -> None:
    answer = server.predict("mirror", {"do": b"text"})
    assert (answer.status, answer.json) == (200, {"prediction": "words"})


def test_a_class_handler_runs_its_network(server: Server) -> None:
    body = json.dumps({"numbers": [1.5, -2]}).encode()
    answer = server.request("POST", "/predictions/doubler", body, JSON)
    assert (answer.status, answer.json) == (200, [3.0, -4.0])


def test_a_service_class_of_0_4_is_served_as_in_0_4(server: Server) -> None:
    answer = server.predict("legacy", {"data": b"[[1, 2]]"})
    assert (answer.status, answer.json) == (200, {"prediction": [[[2.0, 4.0]], "legacy"]})
    described = server.request("GET", "/api-description").json["description"]["paths"]
    assert described["/legacy/predict"]["post"]["parameters"][0]["name"] == "data"


def test_a_release_serves_a_1_x_archive(tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("host")
    release = write_release(root, mars.mirror(root))
    with release_server(root, release) as running:
        answer = running.request("POST", "/predictions/mirror", b"x")
        assert answer.json["row"] == {"body": "x"}
