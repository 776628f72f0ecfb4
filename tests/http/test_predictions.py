"""Tests of the prediction routes of 1.x: bare answers, JSON errors, status codes."""

from __future__ import annotations

import base64
import json
import urllib.parse

import pytest

from tests.fixtures import models
from tests.fixtures.servers import Server

PAIR = b'{"left": [[1, 2, 3]], "right": [[1, 1, 1]]}'
JSON = {"Content-Type": "application/json"}
ROUTES = ["/predictions/{}", "/models/{}/invoke", "/invocations?model_name={}"]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("kind", ["image/jpeg", "application/octet-stream", "", "text/plain"])
def test_an_image_as_the_body(server: Server, route: str, kind: str) -> None:
    headers = {"Content-Type": kind} if kind else {}
    answer = server.request("POST", route.format("colors"), models.picture((0, 0, 255)), headers)
    assert answer.status == 200
    assert answer.json[0][0]["class"] == "blue"
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("field", ["data", "anything"])
def test_a_form_with_one_file(server: Server, kind: str, field: str) -> None:
    part = ("a", f"image/{kind.lower()}", models.picture((0, 255, 0), kind=kind))
    answer = server.post_form("/predictions/colors", {field: part})
    assert answer.json[0][0]["class"] == "green"


@pytest.mark.parametrize("wrapped", [True, False])
def test_an_image_as_base64_in_json(server: Server, wrapped: bool) -> None:
    text = base64.b64encode(models.picture()).decode()
    body = json.dumps({"data": text} if wrapped else text).encode()
    answer = server.request("POST", "/predictions/colors", body, JSON)
    assert answer.json[0][0]["class"] == "red"


@pytest.mark.parametrize("route", ROUTES)
def test_lists_as_json(server: Server, route: str) -> None:
    answer = server.request("POST", route.format("pair"), PAIR, JSON)
    assert answer.json == ["[[4.0, 6.0, 8.0]]"]


def test_json_with_the_content_type_of_a_form(server: Server) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert server.request("POST", "/predictions/pair", PAIR, headers).json == ["[[4.0, 6.0, 8.0]]"]
    form = urllib.parse.urlencode({"left": "[[1,2,3]]", "right": "[[1,1,1]]"}).encode()
    assert server.request("POST", "/predictions/pair", form, headers).json == ["[[4.0, 6.0, 8.0]]"]


@pytest.mark.parametrize(
    ("path", "body", "status", "kind"),
    [
        ("/predictions/pair", b"", 400, "BadRequestException"),
        ("/predictions/pair", b"{", 400, "BadRequestException"),
        ("/predictions/pair", b"[[1,2,3]]", 400, "BadRequestException"),
        ("/predictions/pair", b'{"left": [[1,2,3]]}', 400, "BadRequestException"),
        ("/predictions/pair", b'{"left": 1, "right": 2}', 400, "BadRequestException"),
        ("/predictions/pair", b"[" * 100_000, 400, "BadRequestException"),
        ("/predictions/pair", b'{"left": [NaN], "right": []}', 400, "BadRequestException"),
        ("/predictions/colors", b"", 400, "BadRequestException"),
        ("/predictions/colors", b'{"data": 1}', 400, "BadRequestException"),
        ("/predictions/colors", b"not a picture", 500, "InternalServerException"),
        ("/predictions/pair", b'{"left": [[1]], "right": [[1]]}', 500, "InternalServerException"),
        ("/predictions/nobody", b"", 404, "ModelNotFoundException"),
        ("/models/nobody/invoke", b"", 404, "ModelNotFoundException"),
        ("/invocations?model_name=nobody", b"", 404, "ModelNotFoundException"),
        ("/invocations", b"", 400, "BadRequestException"),
        ("/models/nobody/else", b"", 404, "ResourceNotFoundException"),
    ],
)
def test_errors(server: Server, path: str, body: bytes, status: int, kind: str) -> None:
    headers = {"Content-Type": "application/octet-stream"}
    answer = server.request("POST", path, body, headers)
    assert answer.status == status
    assert answer.json["code"] == status
    assert answer.json["type"] == kind
    assert answer.json["message"]
    assert server.request("GET", "/ping").status == 200


def test_only_post_predicts(server: Server) -> None:
    for path in ("/predictions/pair", "/models/pair/invoke", "/invocations"):
        answer = server.request("GET", path)
        assert (answer.status, answer.json["type"]) == (405, "MethodNotAllowedException")
        assert answer.headers["Allow"] == "POST, OPTIONS"
    assert server.request("GET", "/predictions/nobody").status == 404


def test_options_returns_the_api_unless_it_is_a_preflight(server: Server) -> None:
    answer = server.request("OPTIONS", "/predictions/pair")
    assert "/predictions/pair" in answer.json["paths"]
    assert "/predictions/colors" not in answer.json["paths"]
    preflight = {"Origin": "http://a.example", "Access-Control-Request-Method": "POST"}
    answer = server.request("OPTIONS", "/predictions/pair", headers=preflight)
    assert (answer.status, answer.body) == (200, b"")
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
