"""Tests of bad requests to a real server: answers as of 0.4, and the same workers afterwards."""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Iterator

import pytest

from tests.fixtures import models
from tests.fixtures.servers import Answer, Fields, Server, multipart

JPEG = "image/jpeg"
FAILED = "Error occurs while inference was executed on server."
PAGE = (
    '<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">\n<title>{0}</title>\n<h1>{1}</h1>\n<p>'
)


def file(content: bytes, kind: str = JPEG) -> tuple[str, str, bytes]:
    return ("a.jpg", kind, content)


def png(width: int, height: int, data: bytes = b"") -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", data or zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


def assert_page(answer: Answer, status: int, text: str) -> None:
    """Assert that this is an error page of 0.4, without internals of the server."""
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"] == "text/html"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    name = answer.body.decode().split("<h1>")[1].split("</h1>")[0]
    assert answer.body.decode().startswith(PAGE.format(f"{status} {name}", name))
    assert text in answer.body.decode()
    for internal in ("tmp/", "/site-packages", "Traceback", "Service(", "mms_server", "MXNetError"):
        assert internal not in answer.body.decode()


@pytest.fixture(autouse=True)
def _still_serving(server: Server) -> Iterator[None]:
    """After every test, the same workers still answer."""
    before = server.workers()
    yield
    assert server.predict("colors", {"data": file(models.picture())}).status == 200
    assert server.workers() == before


@pytest.mark.parametrize(
    ("fields", "status", "text"),
    [
        (
            {},
            400,
            (
                "This end point is expecting a data_name of data. End point details can be found "
                "here:http://&lt;host&gt;:&lt;port&gt;/api-description"
            ),
        ),
        ({"other": file(b"x")}, 400, "expecting a data_name of data."),
        (
            {"data": file(b"x", "image/png")},
            400,
            (
                "Input data for request argument: data is not correct. image/jpeg is expected but "
                "image/png is given."
            ),
        ),
        ({"data": file(b"x", "image/jpeg; q=1")}, 400, "is expected but image/jpeg; q=1 is given"),
        ({"data": file(b"x", "<b>" * 50)}, 400, "&lt;b&gt;"),
        ({"data": file(b"")}, 400, "data is empty."),
        ({"data": b""}, 400, "data is empty."),
        ({"data": b"!!!"}, 400, "text that is not base64 is given"),
        ({"data": b"abcde"}, 400, "text that is not base64 is given"),
        ({"data": file(b"\x00")}, 500, FAILED),
        ({"data": file(b"no picture at all")}, 500, FAILED),
        ({"data": file(bytes(100_000))}, 500, FAILED),
        ({"data": file(models.picture()[:-2])}, 500, FAILED),
        ({"data": file(models.picture()[:300])}, 500, FAILED),
        ({"data": file(models.picture(kind="PNG")[:-20])}, 500, FAILED),
        ({"data": file(models.picture(kind="GIF"))}, 500, FAILED),
        ({"data": file(png(20_000, 20_000))}, 413, "more pixels than the limit"),
        ({"data": file(png(10_000, 10_000))}, 413, "10000 x 10000 pixels"),
        ({"data": file(png(40_000, 1))}, 413, "40000 x 1 pixels"),
        ({"data": file(png(2**31 - 1, 2**31 - 1))}, 413, "limit of"),
        ({"data": file(png(100, 100))}, 500, FAILED),
    ],
    ids=lambda value: str(value)[:40],
)
def test_picture_refusals(server: Server, fields: Fields, status: int, text: str) -> None:
    assert_page(server.predict("colors", fields), status, text)


@pytest.mark.parametrize(
    ("left", "status", "text"),
    [
        (None, 400, "malformed node or string: None"),
        (b"", 400, "malformed node or string: ''"),
        (b"[[1,2,3]", 400, "malformed node or string: '[[1,2,3]'"),
        (b"open('/etc/passwd')", 400, "malformed node or string: "),
        (b"__import__('os')", 400, "malformed node or string: "),
        (b"[NaN]", 400, "malformed node or string: "),
        (b"[" * 100_000, 400, "malformed node or string: "),
        (b"[" * 100_000 + b"]" * 100_000, 400, "malformed node or string: "),
        (b"(" * 900 + b"1" + b")" * 900, 400, ""),
        (b"9" * 10_000, 400, "malformed node or string: "),
        (
            b'{"a": 1}',
            400,
            (
                "Input data for request argument: left is not correct. application/json is "
                "expected but got &lt;type 'dict'&gt; instead of list"
            ),
        ),
        (b"(1, 2)", 400, "but got &lt;type 'tuple'&gt; instead of list"),
        (b"3", 400, "but got &lt;type 'int'&gt; instead of list"),
        (b"[[1,2]]", 500, FAILED),
        (b"[1,2,3]", 500, FAILED),
        (b"[]", 500, FAILED),
        (b'["a", {}]', 500, FAILED),
        (b"[[1],[2,3]]", 500, FAILED),
        (b"[[1e999,2,{}]]", 500, FAILED),
    ],
    ids=lambda value: str(value)[:40],
)
def test_json_refusals(server: Server, left: bytes | None, status: int, text: str) -> None:
    fields = {"right": b"[[1,2,3]]", **({"left": left} if left is not None else {})}
    assert_page(server.predict("pair", fields), status, text)


@pytest.mark.parametrize("kind", ["application/json", "image/jpeg", "text/plain", ""])
def test_raw_bodies_are_not_read(server: Server, kind: str) -> None:
    answer = server.request("POST", "/pair/predict", b'{"left": [1]}', {"Content-Type": kind})
    assert_page(answer, 400, "malformed node or string: None")


@pytest.mark.parametrize("order", [-1, -2, -3])
def test_a_misbehaving_service_is_an_error(server: Server, order: int) -> None:
    answer = server.predict("scripted", {"order": f"[[{order}]]".encode()})
    assert answer.status == 500
    assert b"secret" not in answer.body


def test_the_log_has_the_reason_with_the_request_id(server: Server) -> None:
    headers = {"X-Request-Id": "look-for-this"}
    server.predict("colors", {"data": file(b"no picture")}, **headers)
    text = server.log.read_text()
    assert "request look-for-this: model colors failed" in text
    assert "not a complete picture" in text


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/nothing", 404, None),
        ("POST", "/nothing/predict", 404, None),
        ("GET", "/colors/predict/", 404, None),
        ("GET", "/../../etc/passwd", 404, None),
        ("GET", "/%2e%2e/%00/predict", 404, None),
        ("GET", "/colors/predict", 405, "POST, OPTIONS"),
        ("PUT", "/colors/predict", 405, "POST, OPTIONS"),
        ("POST", "/ping", 405, "HEAD, OPTIONS, GET"),
        ("DELETE", "/", 405, "HEAD, OPTIONS, GET"),
    ],
)
def test_routes(server: Server, method: str, path: str, status: int, allow: str | None) -> None:
    answer = server.request(method, path, b"x" * 100_000)
    assert_page(answer, status, "")
    assert answer.headers.get("Allow") == allow


def test_errors_are_json_if_the_client_accepts_it(server: Server) -> None:
    answer = server.predict("colors", {}, Accept="application/json")
    assert answer.status == 400
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json["error"]["request_id"] == answer.headers["X-Request-Id"]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=", b"x"),
        ("multipart/form-data; boundary=" + "b" * 5000, b"x"),
        ("multipart/form-data; boundary=b", b""),
        ("multipart/form-data; boundary=b", b"x" * 1_000_000),
        ("multipart/form-data; boundary=b", b"--b\r\n" * 200_000),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\n\r\n" * 100_000),
        (
            "multipart/form-data; boundary=b",
            b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--",
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="data"\r\n\r\nx',
        ),
        ("multipart/form-data; boundary=b", b"--b\r\n" + b"h: v\r\n" * 200_000 + b"\r\nx\r\n--b--"),
        ("multipart/form-data; boundary=b", b"--b\r\n" + b"h" * 3_000_000),
        ("application/x-www-form-urlencoded", b"%" * 3_000_000),
        ("application/x-www-form-urlencoded", b"a=1&" * 100_000),
        ("application/x-www-form-urlencoded", b"\xff\x00=%zz"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_malformed_forms_are_refused_quickly(server: Server, kind: str, body: bytes) -> None:
    started = time.monotonic()
    answer = server.request("POST", "/colors/predict", body, {"Content-Type": kind})
    assert answer.status in {400, 413}
    assert time.monotonic() - started < 1


def test_many_parts_are_refused_quickly(server: Server) -> None:
    body, kind = multipart({f"field{number}": b"x" for number in range(100_000)})
    started = time.monotonic()
    answer = server.request("POST", "/colors/predict", body, {"Content-Type": kind})
    assert_page(answer, 413, "more than 1000 parts")
    assert time.monotonic() - started < 1


def test_chunks_are_refused(server: Server) -> None:
    with server.connect() as raw:
        raw.sendall(
            b"POST /colors/predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"1\r\nx\r\n" * 20_000
            + b"0\r\n\r\n"
        )
        assert raw.recv(100).startswith(b"HTTP/1.1 411 Length Required\r\n")


def test_a_body_over_the_limit_is_answered(server: Server) -> None:
    length = 64 * 1024 * 1024 + 1
    with server.connect() as raw:
        raw.sendall(
            f"POST /colors/predict HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n".encode()
        )
        block = bytes(1024 * 1024)
        for _ in range(64):
            raw.sendall(block)
        raw.sendall(b"x")
        assert raw.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_client_that_goes_away_harms_nobody(server: Server) -> None:
    for sent in (b"", b"PO", b"POST /colors/predict HTTP/1.1\r\nContent-Length: 100\r\n\r\nx"):
        with server.connect() as raw:
            raw.sendall(sent)
