from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from tests.unit.roles.modules import load

predict: Any = load("mms_verify", "mms_predict")
PICTURE = bytes(range(256)) + b"\n\r\n\r"


class Handler(BaseHTTPRequestHandler):
    """Answers as its path says: /<status>/<body>."""

    received = b""

    def do_POST(self) -> None:
        Handler.received = self.rfile.read(int(self.headers["Content-Length"]))
        _, status, text = self.path.split("/", 2)
        self.send_response(int(status))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def ask(url: str) -> tuple[int, Any]:
    body = predict.form("data", "x.jpg", "image/jpeg", PICTURE, "b")
    result: tuple[int, Any] = predict.ask(url, body, "b", 10)
    return result


def test_file_is_sent_byte_for_byte(url: str) -> None:
    assert ask(f'{url}/200/{{"a":1}}') == (200, {"a": 1})
    assert PICTURE in Handler.received


def test_error_shows_status_and_text(url: str) -> None:
    with pytest.raises(predict.PredictError, match="answers 404: no-such-model"):
        ask(f"{url}/404/no-such-model")


def test_answer_that_is_not_json_is_said_so(url: str) -> None:
    with pytest.raises(predict.PredictError, match="does not answer with JSON"):
        ask(f"{url}/200/hello")


def test_nobody_there_is_said_so() -> None:
    with pytest.raises(predict.PredictError, match="gives no answer"):
        ask("http://127.0.0.1:1/digits/predict")


def test_other_schemes_are_refused() -> None:
    with pytest.raises(predict.PredictError, match="not an http address"):
        ask("file:///etc/passwd")


def test_best_is_the_first_class() -> None:
    answer = {"prediction": [[{"class": "7", "probability": 0.9}, {"class": "1"}]]}
    assert predict.best(answer) == {"class": "7", "probability": 0.9}


@pytest.mark.parametrize("answer", [{}, [], {"prediction": []}, {"prediction": [[1]]}, None])
def test_other_answers_have_no_best_class(answer: Any) -> None:
    assert predict.best(answer) == {}
