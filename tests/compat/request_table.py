"""The table of the requests that the original and mms-hosts get, by name."""

from __future__ import annotations

import base64
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
PICTURES = HERE / "pictures"
JPEG, FORM, JSON = "image/jpeg", "application/x-www-form-urlencoded", "application/json"
ORIGIN = {"Origin": "http://example.com"}

_BOUNDARY = "a5f1c7e0compat"


@dataclass(frozen=True)
class Request:
    """A request as it is sent; ``model`` is the endpoint name that the server serves."""

    model: str
    method: str
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class File:
    """A file part of a form."""

    content: bytes
    kind: str = JPEG
    name: str = "a.jpg"


def picture(name: str) -> bytes:
    return (PICTURES / name).read_bytes()


def form(model: str, *fields: tuple[str, File | bytes], **headers: str) -> Request:
    """Return a multipart prediction request."""
    rows = b"".join(_part(name, value) for name, value in fields)
    every = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}", **headers}
    return Request(
        model, "POST", f"/{model}/predict", rows + f"--{_BOUNDARY}--\r\n".encode(), every
    )


def urlencoded(model: str, fields: Sequence[tuple[str, bytes]]) -> Request:
    """Return a prediction request in the format of a browser's form."""
    body = urllib.parse.urlencode(fields).encode()
    return Request(model, "POST", f"/{model}/predict", body, {"Content-Type": FORM})


def raw(model: str, body: bytes, kind: str) -> Request:
    return Request(model, "POST", f"/{model}/predict", body, {"Content-Type": kind})


def _part(name: str, value: File | bytes) -> bytes:
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'
    if isinstance(value, File):
        head += f'; filename="{value.name}"\r\nContent-Type: {value.kind}'
        value = value.content
    return head.encode() + b"\r\n\r\n" + value + b"\r\n"


def _routes() -> dict[str, Request]:
    preflight = {
        **ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "Content-Type, X-Mine",
    }
    return {
        "ping": Request("single", "GET", "/ping"),
        "ping_origin": Request("single", "GET", "/ping", headers=ORIGIN),
        "ping_head": Request("single", "HEAD", "/ping"),
        "ping_options": Request("single", "OPTIONS", "/ping"),
        "ping_post": Request("single", "POST", "/ping", b""),
        "ping_slash": Request("single", "GET", "/ping/"),
        "root": Request("single", "GET", "/"),
        "root_head": Request("single", "HEAD", "/"),
        "description": Request("single", "GET", "/api-description"),
        "description_head": Request("single", "HEAD", "/api-description"),
        "description_image": Request("photo", "GET", "/api-description"),
        "description_pair": Request("pair", "GET", "/api-description"),
        "description_image_out": Request("picture_out", "GET", "/api-description"),
        "description_slash": Request("single", "GET", "/api-description/"),
        "description_post": Request("single", "POST", "/api-description", b""),
        "unknown_path": Request("single", "GET", "/nothing"),
        "unknown_path_post": Request("single", "POST", "/nothing", b""),
        "unknown_path_options": Request("single", "OPTIONS", "/nothing"),
        "unknown_model": Request("single", "POST", "/nobody/predict", b""),
        "predict_get": Request("single", "GET", "/single/predict"),
        "predict_head": Request("single", "HEAD", "/single/predict"),
        "predict_put": Request("single", "PUT", "/single/predict", b""),
        "predict_delete": Request("single", "DELETE", "/single/predict"),
        "predict_slash": Request("single", "POST", "/single/predict/", b""),
        "predict_options": Request("single", "OPTIONS", "/single/predict"),
        "preflight": Request("single", "OPTIONS", "/single/predict", headers=preflight),
        "preflight_ping": Request("single", "OPTIONS", "/ping", headers=preflight),
        "not_found_origin": Request("single", "GET", "/nothing", headers=ORIGIN),
    }


def _pictures() -> dict[str, Request]:
    exact, photo = picture("exact.png"), picture("photo.jpg")
    other = picture("grey.jpg")
    text = base64.b64encode(exact)
    # Three bytes become four base64 characters. Two bytes more need padding, which can be removed.
    padded = base64.b64encode(exact + b"\0" * ((2 - len(exact)) % 3))
    return {
        "image": form("photo", ("data", File(photo))),
        "image_exact": form("photo", ("data", File(exact))),
        "image_grey": form("photo", ("data", File(other))),
        "image_png_type": form("photo", ("data", File(exact, "image/png", "a.png"))),
        "image_no_type_parameter": form("photo", ("data", File(exact, "image/jpeg; q=1"))),
        "image_base64": urlencoded("photo", [("data", text)]),
        "image_base64_multipart": form("photo", ("data", text)),
        "image_base64_unpadded": urlencoded("photo", [("data", padded.rstrip(b"="))]),
        "image_base64_not": urlencoded("photo", [("data", b"!!!")]),
        "image_file_and_field": form(
            "photo", ("data", base64.b64encode(other)), ("data", File(exact))
        ),
        "image_twice": form("photo", ("data", File(exact)), ("data", File(other))),
        "image_extra": form("photo", ("more", b"x"), ("data", File(exact)), ("file", File(other))),
        "image_missing": form("photo", ("other", File(exact))),
        "image_no_body": Request("photo", "POST", "/photo/predict", b""),
        "image_query": Request("photo", "POST", "/photo/predict?data=x", b""),
        "image_text": form("photo", ("data", File(b"not a picture"))),
        "image_truncated": form("photo", ("data", File(photo[: len(photo) // 2]))),
        "image_empty": form("photo", ("data", File(b""))),
        "image_raw": raw("photo", exact, JPEG),
        "image_json_body": raw("photo", b'{"data": "' + text + b'"}', JSON),
        "image_origin": form("photo", ("data", File(exact)), **ORIGIN),
        "image_xhr": form("photo", ("data", File(exact)), **{"X-Requested-With": "XMLHttpRequest"}),
    }


def _numbers() -> dict[str, Request]:
    return {
        "numbers": form("single", ("x", b"[[1, 2, 3]]")),
        "numbers_urlencoded": urlencoded("single", [("x", b"[[1, 2, 3]]")]),
        "numbers_origin": form("single", ("x", b"[[1, 2, 3]]"), **ORIGIN),
        "numbers_batch": form("single", ("x", b"[[1, 2, 3], [4, 5, 6]]")),
        "numbers_literal": form("single", ("x", b"[(1, 2., 0x3)]")),
        "numbers_json_words": form("single", ("x", b"[[true, false, true]]")),
        "numbers_python_words": form("single", ("x", b"[[True, False, True]]")),
        "numbers_extra": form("single", ("y", b"1"), ("x", b"[[1, 2, 3]]")),
        "numbers_twice": form("single", ("x", b"[[1, 2, 3]]"), ("x", b"[[9, 9, 9]]")),
        "numbers_missing": form("single", ("y", b"[[1, 2, 3]]")),
        "numbers_no_body": Request("single", "POST", "/single/predict", b""),
        "numbers_words": form("single", ("x", b"one two")),
        "numbers_call": form("single", ("x", b"list()")),
        "numbers_object": form("single", ("x", b"{'x': 1}")),
        "numbers_number": form("single", ("x", b"1")),
        "numbers_shape": form("single", ("x", b"[[1, 2]]")),
        "numbers_rank": form("single", ("x", b"[1, 2, 3]")),
        "numbers_ragged": form("single", ("x", b"[[1, 2, 3], [1]]")),
        "numbers_strings": form("single", ("x", b"[['a', 'b', 'c']]")),
        "numbers_json_body": raw("single", b'{"x": [[1, 2, 3]]}', JSON),
        "numbers_raw": raw("single", b"[[1, 2, 3]]", "text/plain"),
        "numbers_file": form("single", ("x", File(b"[[1, 2, 3]]", JSON, "x.json"))),
        "two_inputs": form("pair", ("left", b"[[1, 2, 3]]"), ("right", b"[[1, 1, 1]]")),
        "two_inputs_swapped": form("pair", ("right", b"[[1, 1, 1]]"), ("left", b"[[1, 2, 3]]")),
        "two_inputs_one": form("pair", ("left", b"[[1, 2, 3]]")),
        "own_answer": form("custom", ("x", b"[[1, 2, 3]]")),
        "image_out": form("picture_out", ("x", b"[[1, 2, 3]]")),
        "gluon": form("gluon", ("x", b"[[1, 2, 3], [4, 5, 6]]")),
    }


REQUESTS: Mapping[str, Request] = {**_routes(), **_pictures(), **_numbers()}
MODELS = tuple(sorted({row.model for row in REQUESTS.values()}))
