"""Tests of 0.4's routes on a real server: predictions, ping, description, and request ids."""

from __future__ import annotations

import base64
import json
import threading
import time
import urllib.parse
from pathlib import Path

import pytest

from mms_server.archives.extract import check, unpack
from mms_server.inference.model_loader import load_model
from tests.fixtures import models
from tests.fixtures.servers import Server

JPEG = "image/jpeg"


def file(content: bytes, kind: str = JPEG) -> tuple[str, str, bytes]:
    return ("a.jpg", kind, content)


@pytest.mark.parametrize(
    ("color", "name"),
    [((255, 0, 0), "red"), ((0, 255, 0), "green"), ((0, 0, 255), "blue"), ((9, 9, 9), "black")],
)
def test_an_image_is_classified(server: Server, color: tuple[int, int, int], name: str) -> None:
    answer = server.predict("colors", {"data": file(models.picture(color))})
    assert answer.status == 200
    (rows,) = answer.json["prediction"]
    assert rows[0]["class"] == name
    assert len(rows) == 5
    probabilities = [row["probability"] for row in rows]
    assert probabilities == sorted(probabilities, reverse=True)


def test_the_answer_is_that_of_the_service(
    server: Server, archives: dict[str, Path], tmp_path: Path
) -> None:
    unpack(archives["colors"], tmp_path / "colors")
    service = load_model("colors", tmp_path / "colors").service
    data = models.picture((200, 90, 30))
    answer = server.predict("colors", {"data": file(data)})
    assert answer.json["prediction"] == service.inference([data])


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "RGB"), ("JPEG", "L"), ("PNG", "RGBA")])
def test_png_grey_and_rgba_images(server: Server, kind: str, mode: str) -> None:
    data = models.picture((255, 255, 255), kind=kind, mode=mode)
    answer = server.predict("colors", {"data": file(data)})
    assert answer.json["prediction"][0][0]["class"] == "white"


def test_json_has_sorted_keys_and_a_final_newline(server: Server) -> None:
    answer = server.predict("colors", {"data": file(models.picture())})
    compact = json.dumps(answer.json, sort_keys=True, separators=(",", ":"))
    assert answer.body == compact.encode() + b"\n"
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Content-Length"] == str(len(answer.body))


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("encoded", ["multipart", "urlencoded", "unescaped"])
def test_base64(server: Server, padded: bool, encoded: str) -> None:
    text = base64.b64encode(models.picture((255, 255, 0)))
    text = text if padded else text.rstrip(b"=")
    if encoded == "multipart":
        answer = server.predict("colors", {"data": text})
    else:
        quoted = urllib.parse.quote(text) if encoded == "urlencoded" else text.decode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        body = f"other=1&data={quoted}".encode()
        answer = server.request("POST", "/colors/predict", body, headers)
    assert answer.json["prediction"][0][0]["class"] == "yellow"


def test_the_first_file_of_a_name_counts(server: Server) -> None:
    boundary = "xyz"
    parts = [
        ("", b"no picture"),
        (f'; filename="a.jpg"\r\nContent-Type: {JPEG}', models.picture((0, 0, 255))),
        (f'; filename="b.jpg"\r\nContent-Type: {JPEG}', models.picture((0, 255, 0))),
    ]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="data"'
    body = b"".join(f"{head}{more}\r\n\r\n".encode() + data + b"\r\n" for more, data in parts)
    answer = server.request(
        "POST",
        "/colors/predict",
        body + f"--{boundary}--".encode(),
        {"Content-Type": f"multipart/form-data; boundary={boundary}"},
    )
    assert answer.json["prediction"][0][0]["class"] == "blue"


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (b"[[1, 2, 3]]", b"[[1, 1, 1]]", "[[4.0, 6.0, 8.0]]"),
        (b"[[1, 2, 3,],]", b"[[+1, 1, 0x1]]", "[[4.0, 6.0, 8.0]]"),
        (b" [[1e0,2,3]]\n", b"[[true, true, true]]", "[[4.0, 6.0, 8.0]]"),
        (b"[[1,2,3],[4,5,6]]", b"[[1,1,1],[0,0,0]]", "[[4.0, 6.0, 8.0], [8.0, 10.0, 12.0]]"),
    ],
)
def test_json_inputs(server: Server, left: bytes, right: bytes, expected: str) -> None:
    answer = server.predict("pair", {"left": left, "right": right, "extra": b"ignored"})
    assert answer.status == 200
    assert (
        answer.body
        == json.dumps({"prediction": [expected]}, separators=(",", ":")).encode() + b"\n"
    )


def test_json_inputs_urlencoded(server: Server) -> None:
    body = urllib.parse.urlencode({"left": "[[1,2,3]]", "right": "[[0,0,0]]"}).encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = server.request("POST", "/pair/predict", body, headers)
    assert answer.json == {"prediction": ["[[2.0, 4.0, 6.0]]"]}


@pytest.mark.parametrize("path", ["/ping", "/", "/colors/ping", "/scripted/ping"])
def test_ping(server: Server, path: str) -> None:
    answer = server.request("GET", path)
    assert (answer.status, answer.json) == (200, {"health": "healthy!"})
    head = server.request("HEAD", path)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == answer.headers["Content-Length"]


def test_description(server: Server) -> None:
    description = server.request("GET", "/api-description").json["description"]
    assert description["host"] == f"127.0.0.1:{server.place}"
    assert set(description["paths"]) == {
        "/",
        "/ping",
        "/api-description",
        "/colors/predict",
        "/scripted/predict",
        "/pair/predict",
    }


def test_preflight(server: Server) -> None:
    answer = server.request(
        "OPTIONS",
        "/colors/predict",
        headers={"Origin": "http://a.example", "Access-Control-Request-Method": "POST"},
    )
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Allow"] == "POST, OPTIONS"
    assert answer.headers["Access-Control-Allow-Origin"] == "http://a.example"


def test_request_ids(server: Server) -> None:
    headers = {"X-Request-Id": "client-1.a_B"}
    assert server.request("GET", "/ping", headers=headers).headers["X-Request-Id"] == "client-1.a_B"
    generated = [server.request("GET", "/ping").headers["X-Request-Id"] for _ in range(2)]
    assert generated[0] != generated[1]


def test_one_forward_at_a_time_and_ping_does_not_wait(server: Server) -> None:
    answers = []

    def ask() -> None:
        answers.append(server.predict("scripted", {"order": b"[[0.3]]"}))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    sent = time.monotonic()
    assert server.request("GET", "/ping").status == 200
    assert server.request("GET", "/scripted/ping").status == 200
    # If the pings waited for the four predictions, this would take 0.9 s.
    assert time.monotonic() - sent < 0.6
    for thread in threads:
        thread.join(20)
    assert time.monotonic() - started >= 1.2
    assert [answer.status for answer in answers] == [200] * 4
    assert {answer.json["prediction"]["max_active"] for answer in answers} == {1}


def test_archives_contain_the_default_service_files(
    archives: dict[str, Path], tmp_path: Path
) -> None:
    for name, service in (
        ("colors", "mxnet_vision_service.py"),
        ("pair", "mxnet_model_service.py"),
    ):
        unpack(archives[name], tmp_path / name)
        manifest, _ = check(tmp_path / name)
        assert manifest.service == service
        assert (tmp_path / name / service).is_file()
