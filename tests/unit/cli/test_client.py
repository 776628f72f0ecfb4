"""The client against a server that answers as it is told to."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from mms_server.archives.signature import Signature, Tensor
from mms_server.cli import client, predict_cmd
from mms_server.rest.mms04.swagger import describe

PICTURE = Signature((Tensor("data", (0, 3, 8, 8)),), "image/jpeg", (), "application/json")
PAIR = Signature(
    (Tensor("left", (0, 3)), Tensor("right", (0, 3))), "application/json", (), "application/json"
)
DESCRIPTION = {"description": describe("h", 1, {"cat": PICTURE, "pair": PAIR})}


class Scripted(ThreadingHTTPServer):
    """Answers each path with (status, body); keeps what was sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.got: list[tuple[str, str, str, bytes]] = []
        self.pause_s = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Scripted

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        kind = self.headers.get("Content-Type", "")
        self.server.got.append((self.command, self.path, kind, body))
        status, answer = self.server.answers[self.path]
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        for byte in (answer[:1], answer[1:]):
            self.wfile.write(byte)
            self.wfile.flush()
            time.sleep(self.server.pause_s)

    do_POST = do_GET  # noqa: N815 - the name that the base class looks for

    def log_message(self, *_words: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Scripted]:
    with Scripted() as running:
        running.answers["/api-description"] = (200, json.dumps(DESCRIPTION).encode())
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join(10)


def test_ping(server: Scripted) -> None:
    asked = client.Client(server.url)
    for status, body, healthy in (
        (200, b'{"health":"healthy!"}', True),
        (200, b'{"health":"unhealthy!"}', False),
        (503, b'{"health":"unhealthy!"}', False),
        (200, b"[]", False),
    ):
        server.answers["/ping"] = (status, body)
        assert asked.ping() is healthy


def test_models_and_their_inputs(server: Scripted) -> None:
    assert client.Client(server.url + "/").models() == {
        "cat": (client.Input("data", is_picture=True),),
        "pair": (
            client.Input("left", is_picture=False),
            client.Input("right", is_picture=False),
        ),
    }


def test_a_picture_is_a_file_part_and_its_name_is_asked_for(
    server: Scripted, tmp_path: Path
) -> None:
    server.answers["/cat/predict"] = (200, b'{"prediction":[1]}')
    file = tmp_path / "kitten.png"
    file.write_bytes(b"bytes of a picture")
    assert client.Client(server.url).predict("cat", file) == [1]
    method, path, kind, body = server.got[-1]
    assert (method, path) == ("POST", "/cat/predict")
    assert kind.startswith("multipart/form-data; boundary=")
    assert b'name="data"; filename="kitten.png"\r\nContent-Type: image/jpeg\r\n' in body
    assert b"bytes of a picture" in body
    client.Client(server.url).predict("cat", {"data": b"abc"})
    assert b'filename="data.jpg"' in server.got[-1][3]
    assert server.got[-2][1] == "/cat/predict"


def test_base64(server: Scripted) -> None:
    server.answers["/cat/predict"] = (200, b'{"prediction":[1]}')
    assert client.Client(server.url).predict_base64("cat", b"\xff\xd8+/") == [1]
    _method, _path, kind, body = server.got[-1]
    assert kind == "application/x-www-form-urlencoded"
    assert base64.b64decode(parse_qs(body.decode())["data"][0]) == b"\xff\xd8+/"


def test_lists_are_json_fields(server: Scripted) -> None:
    server.answers["/pair/predict"] = (200, b'{"prediction":["[[2.0]]"]}')
    asked = client.Client(server.url)
    assert asked.predict("pair", {"left": [[1]], "right": [[1.5]]}) == ["[[2.0]]"]
    body = server.got[-1][3]
    assert b'name="left"\r\n\r\n[[1]]\r\n' in body
    assert b'name="right"\r\n\r\n[[1.5]]\r\n' in body


@pytest.mark.parametrize(
    ("model", "inputs", "says"),
    [
        ("pair", [[1]], "model pair has 2 inputs. Fix: give them by name: left, right."),
        ("pair", {"left": object()}, "input left is no JSON"),
        ("pair", {"left": [float("nan")]}, "input left is no JSON"),
        ("cat", Path("/missing.jpg"), "/missing.jpg cannot be read"),
    ],
)
def test_what_is_not_sent(server: Scripted, model: str, inputs: Any, says: str) -> None:
    with pytest.raises(client.BadRequestError, match=says):
        client.Client(server.url).predict(model, inputs)
    assert all(row[0] == "GET" for row in server.got)


_PAGE = (
    b"<!DOCTYPE HTML><title>400 Bad Request</title>\n<h1>Bad Request</h1>\n<p>a &lt;b&gt;\nc</p>"
)


@pytest.mark.parametrize(
    ("status", "body", "kind", "text"),
    [
        (400, b'{"error":{"code":400,"text":"no picture"}}', client.AnswerError, "no picture"),
        (400, _PAGE, client.AnswerError, "a <b> c"),
        (404, b"{}", client.ModelNotFoundError, "{}"),
        (413, b"<html><title>413 Too Large</title>", client.AnswerError, "413 Too Large"),
        (500, b"[1]", client.AnswerError, "[1]"),
        (503, b"", client.NotReadyError, ""),
        (504, b"x" * 999, client.NotReadyError, "x" * 300),
        (302, b"elsewhere", client.AnswerError, "elsewhere"),
    ],
)
def test_errors_of_the_server(
    server: Scripted, status: int, body: bytes, kind: type[client.AnswerError], text: str
) -> None:
    server.answers["/cat/predict"] = (status, body)
    with pytest.raises(client.AnswerError) as caught:
        client.Client(server.url).predict("cat", b"x")
    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.text) == (status, text)
    assert caught.value.where() == f"{server.url}/cat/predict"


@pytest.mark.parametrize("body", [b"no json", b"[]", b'{"other": 1}'])
def test_what_is_no_answer_of_a_model_server(server: Scripted, body: bytes) -> None:
    server.answers["/cat/predict"] = server.answers["/api-description"] = (200, body)
    with pytest.raises(client.UnreachableError):
        client.Client(server.url).predict("cat", {"data": b"x"})
    with pytest.raises(client.UnreachableError):
        client.Client(server.url).models()


def test_an_unknown_model_names_those_that_are_served(server: Scripted) -> None:
    with pytest.raises(client.ModelNotFoundError, match="served are: cat, pair"):
        client.Client(server.url).predict("dog", b"x")


def test_time_and_size_are_limited(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answers["/ping"] = (200, b'{"health":"healthy!"}')
    assert client.Client(server.url, timeout_s=5).ping()
    server.pause_s = 0.5
    with pytest.raises(client.AnswerTimeoutError, match=r"within 0\.2 s"):
        client.Client(server.url, timeout_s=0.2).ping()
    server.pause_s = 0
    monkeypatch.setattr(client, "MAX_ANSWER_BYTES", 21)
    assert client.Client(server.url).ping()
    monkeypatch.setattr(client, "MAX_ANSWER_BYTES", 20)
    with pytest.raises(client.UnreachableError, match="more than 20 bytes"):
        client.Client(server.url).ping()


def test_nobody_there(server: Scripted) -> None:
    server.shutdown()
    server.server_close()
    with pytest.raises(client.UnreachableError, match="no answer"):
        client.Client(server.url, timeout_s=2).ping()


@pytest.mark.parametrize("url", ["ftp://host", "http://", "file:///etc", ""])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(client.BadRequestError, match="no URL of a server"):
        client.Client(url)


def test_a_host_alone_is_a_url() -> None:
    assert client.Client("10.77.0.11:8080").url == "http://10.77.0.11:8080"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ([], 0, '"cat": [\n    "data"\n  ]'),
        (["pair", "--json", '{"left": [1], "right": [1]}'], 0, "[\n  1\n]"),
        (["pair"], 2, "one input is needed"),
        (["pair", "x.jpg", "--json", "[]"], 2, "one input is needed"),
        (["pair", "--json", "{"], 2, "--json: Expecting"),
        (["pair", "--json", "1"], 2, "neither a list nor an object"),
        (["cat", "/missing.jpg"], 2, "/missing.jpg cannot be read"),
        (["dog", "--json", "[1]"], 1, "no model dog"),
        (["bad", "--json", '{"x": [1]}'], 1, "the server answered 500: {}"),
        (["slow", "--json", '{"x": [1]}', "--timeout", "1e-3"], 4, "Fix: "),
    ],
)
def test_the_command(
    server: Scripted, capsys: pytest.CaptureFixture[str], words: list[str], code: int, says: str
) -> None:
    server.answers["/pair/predict"] = (200, b'{"prediction":[1]}')
    server.answers["/bad/predict"] = (500, b"{}")
    server.answers["/slow/predict"] = (200, b'{"prediction":[1]}')
    server.pause_s = 0.3 if words[:1] == ["slow"] else 0
    assert predict_cmd.main([server.url, *words]) == code
    assert says in "".join(capsys.readouterr())


@pytest.mark.parametrize("seconds", ["0", "-1", "inf", "nan", "x"])
def test_the_command_wants_a_time(seconds: str) -> None:
    with pytest.raises(SystemExit) as caught:
        predict_cmd.main(["http://h", "m", "--timeout", seconds])
    assert caught.value.code == 2
