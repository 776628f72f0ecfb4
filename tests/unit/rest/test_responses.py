"""The form of all answers: JSON, error pages, CORS, request ids (contract, 7.3 to 7.5)."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import bottle
import pytest

from mms_server.core import errors
from mms_server.core.refusals import REFUSALS, status_of
from mms_server.core.request_body import read
from mms_server.rest.responses import bottle_app

PAGE = (
    '<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">\n'
    "<title>{code} {name}</title>\n<h1>{name}</h1>\n<p>{text}</p>\n"
)


class Answer:
    """What a WSGI application answered to one request."""

    def __init__(self, app: Any, method: str, path: str, body: bytes = b"", **environ: str) -> None:
        self.input = io.BytesIO(body)
        request = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.input": self.input,
            "wsgi.errors": io.StringIO(),
            "CONTENT_LENGTH": str(len(body)),
            **environ,
        }
        self.body = b"".join(app(request, self.start))

    def start(self, status: str, headers: list[tuple[str, str]], _info: object = None) -> None:
        self.status = status
        self.headers = dict(headers)
        assert len(self.headers) == len(headers)


@pytest.fixture
def app() -> Any:
    made = bottle_app(new_id=lambda: "made-1")
    made.get("/ping", callback=lambda: {"health": "healthy!", "a": [1.5, None]})
    made.post("/digits/predict", callback=lambda: {"prediction": []})
    return made


def fails(app: Any, error: Callable[[], object]) -> None:
    def callback() -> None:
        raised = error()
        assert isinstance(raised, Exception)
        raise raised

    app.post("/fails", callback=callback)


def test_json_has_sorted_keys_and_a_final_newline(app: Any) -> None:
    answer = Answer(app, "GET", "/ping")
    assert answer.status == "200 OK"
    assert answer.body == b'{"a":[1.5,null],"health":"healthy!"}\n'
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Content-Length"] == str(len(answer.body))
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_head_has_the_headers_of_get(app: Any) -> None:
    get, head = Answer(app, "GET", "/ping"), Answer(app, "HEAD", "/ping")
    assert head.body == b""
    assert head.headers == get.headers


def test_an_origin_is_echoed(app: Any) -> None:
    answer = Answer(app, "GET", "/ping", HTTP_ORIGIN="http://a.example")
    assert answer.headers["Access-Control-Allow-Origin"] == "http://a.example"
    assert answer.headers["Vary"] == "Origin"


@pytest.mark.parametrize(
    ("path", "allow"), [("/digits/predict", "POST, OPTIONS"), ("/ping", "HEAD, OPTIONS, GET")]
)
def test_preflight(app: Any, path: str, allow: str) -> None:
    answer = Answer(
        app,
        "OPTIONS",
        path,
        HTTP_ORIGIN="http://a.example",
        HTTP_ACCESS_CONTROL_REQUEST_METHOD="POST",
        HTTP_ACCESS_CONTROL_REQUEST_HEADERS="x-one, x-two",
    )
    assert answer.status == "200 OK"
    assert answer.body == b""
    assert answer.headers["Allow"] == allow
    assert answer.headers["Access-Control-Allow-Origin"] == "http://a.example"
    assert answer.headers["Access-Control-Allow-Headers"] == "x-one, x-two"
    assert answer.headers["Access-Control-Allow-Methods"] == (
        "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"
    )


def test_unknown_path(app: Any) -> None:
    answer = Answer(app, "GET", "/nothing")
    text = (
        "The requested URL was not found on the server.  If you entered the URL manually please "
        "check your spelling and try again."
    )
    page = PAGE.format(code=404, name="Not Found", text=text)
    assert answer.status == "404 Not Found"
    assert answer.body.decode() == page
    assert answer.headers["Content-Type"] == "text/html"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert Answer(app, "GET", "/ping/").status == "404 Not Found"
    assert Answer(app, "OPTIONS", "/nothing").status == "404 Not Found"


def test_wrong_method(app: Any) -> None:
    answer = Answer(app, "GET", "/digits/predict")
    text = "The method is not allowed for the requested URL."
    assert answer.status == "405 Method Not Allowed"
    assert answer.body.decode() == PAGE.format(code=405, name="Method Not Allowed", text=text)
    assert answer.headers["Allow"] == "POST, OPTIONS"
    assert Answer(app, "POST", "/ping").headers["Allow"] == "HEAD, OPTIONS, GET"


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (row.error, row.status)
        for row in REFUSALS
        # 0.4 has one text for all of 404. A late request has numbers, and a test of its own.
        if row.error and not row.mms04_text and row.error is not errors.LateError
    ],
)
def test_each_error_has_its_status(
    app: Any, kind: Callable[[str], errors.RequestError], status: int
) -> None:
    fails(app, lambda: kind('a <b> & "c" é'))
    answer = Answer(app, "POST", "/fails")
    assert answer.status.startswith(f"{status} ")
    assert b'a &lt;b&gt; &amp; "c" &#233;' in answer.body


def test_a_late_request_is_told_when_to_try_again(app: Any) -> None:
    fails(app, lambda: errors.LateError(1.0, 0.5, 3, 2.0, 7))
    answer = Answer(app, "POST", "/fails")
    assert answer.status == "503 Service Unavailable"
    assert answer.headers["Retry-After"] == "7"
    assert b"would miss its limit of 0.5 s" in answer.body


def test_only_rows_with_retry_after_have_the_header(app: Any) -> None:
    fails(app, lambda: errors.UnavailableError("The model is not ready."))
    assert "Retry-After" not in Answer(app, "POST", "/fails").headers


@pytest.mark.parametrize(
    "error",
    [
        ValueError("/secret/path"),
        errors.ServiceError("class Secret cannot be loaded"),
        errors.ArchiveError("/secret/path", "it is damaged"),
    ],
)
def test_other_errors_reveal_nothing(app: Any, error: Exception) -> None:
    fails(app, lambda: error)
    answer = Answer(app, "POST", "/fails")
    assert answer.status == "500 Internal Server Error"
    assert b"ecret" not in answer.body
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("answer", [float("nan"), float("inf"), {1: 2, "a": 3}, object(), b"x"])
def test_an_answer_that_json_cannot_write_is_an_error(app: Any, answer: object) -> None:
    app.get("/odd", callback=lambda: answer)
    assert Answer(app, "GET", "/odd").status == "500 Internal Server Error"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "text/html"),
        ("*/*", "text/html"),
        ("text/html,*/*;q=0.8", "text/html"),
        ("application/json", "application/json"),
        ("Application/JSON;charset=utf-8", "application/json"),
        ("text/html;q=0.5, application/json;q=0.9", "application/json"),
        ("text/html, application/json", "text/html"),
        ("application/json;q=0", "text/html"),
        ("application/json;q=bad, ,;;=", "application/json"),
    ],
)
def test_errors_are_json_if_the_client_accepts_it(app: Any, accept: str, kind: str) -> None:
    answer = Answer(app, "GET", "/nothing", HTTP_ACCEPT=accept)
    assert answer.headers["Content-Type"] == kind
    if kind == "application/json":
        error = json.loads(answer.body)["error"]
        assert (error["code"], error["name"]) == (404, "Not Found")
        assert error["request_id"] == "made-1"


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("abc-DEF_1.2", "abc-DEF_1.2"),
        ("x" * 128, "x" * 128),
        ("x" * 129, "made-1"),
        ("", "made-1"),
        ("a b", "made-1"),
        ("a\nb", "made-1"),
        ("a\n", "made-1"),
        ("é", "made-1"),
    ],
)
def test_request_ids(app: Any, given: str, used: str) -> None:
    assert Answer(app, "GET", "/ping", HTTP_X_REQUEST_ID=given).headers["X-Request-Id"] == used


@pytest.mark.parametrize("path", ["/nothing", "/ping", "/digits/predict"])
def test_an_unwanted_body_is_read(app: Any, path: str) -> None:
    answer = Answer(app, "POST", path, body=b"x" * 200_000)
    assert answer.input.read() == b""


def environ(body: bytes, **changes: str) -> dict[str, Any]:
    return {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body)), **changes}


def test_a_body_is_read_up_to_its_limit() -> None:
    assert read(environ(b"x" * 10), 10) == b"x" * 10
    assert read(environ(b"", CONTENT_LENGTH=""), 10) == b""
    with pytest.raises(errors.BodyTooLargeError, match="11 bytes, the limit is 10"):
        read(environ(b"x" * 11), 10)


def test_bodies_that_cannot_be_read() -> None:
    with pytest.raises(errors.LengthRequiredError):
        read(environ(b"x", HTTP_TRANSFER_ENCODING="chunked"), 10)
    with pytest.raises(errors.BadInputError, match="ended before"):
        read(environ(b"x", CONTENT_LENGTH="5"), 10)


def test_an_error_raised_by_bottle_itself_is_a_page(app: Any) -> None:
    app.get("/refuses", callback=lambda: bottle.abort(418, "short <and> stout"))
    answer = Answer(app, "GET", "/refuses")
    assert b"<p>short &lt;and&gt; stout</p>" in answer.body


def test_status_of_a_subclass_is_its_parents() -> None:
    class OddInputError(errors.BadInputError):
        pass

    assert status_of(OddInputError("x")) == 400
    assert status_of(KeyError("x")) == 500
