"""Rows about HTTP (compatibility.md, 7): requests, answers, errors, CORS, API description."""

from __future__ import annotations

import io
import json

import numpy as np
from PIL import Image

from tests.compat.replay import Check, assert_close, instead, same, send
from tests.compat.request_table import File, form, picture
from tests.compat.rows import Ground, beyond, fixed, kept

_NUMBERS = {"prediction": ["[[2.0600686073303223, -2.510288953781128]]"]}
_FAILED = "Error occurs while inference was executed on server."


def _description(name: str, model: str) -> Check:
    """Return a check of the API description; ours has more models and another address."""

    def check(ground: Ground) -> None:
        ours = send(ground, name).json["description"]
        assert ours["host"] == f"127.0.0.1:{ground.server.place}"
        for front_end in ("standalone", "gunicorn"):
            answer = ground.recordings[front_end][name]["answer"]
            theirs = json.loads(answer["body"])["description"]
            assert ours.keys() == theirs.keys()
            for key in ("swagger", "info", "schemes"):
                assert ours[key] == theirs[key]
            assert f"/{model}/predict" in theirs["paths"]
            for path, about in theirs["paths"].items():
                assert ours["paths"][path] == about

    return check


def _large_upload(ground: Ground) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (1200, 1200, 3), np.uint8)
    target = io.BytesIO()
    Image.fromarray(noise).save(target, "JPEG", quality=95)
    assert len(target.getvalue()) > 1024 * 1024
    request = form("photo", ("data", File(target.getvalue())))
    answer = ground.server.request("POST", request.path, request.body, request.headers)
    assert answer.status == 200
    over = ground.server.request("POST", "/photo/predict", headers={"Content-Length": "67108865"})
    assert over.status == 413
    assert b"the limit is 67108864 bytes" in over.body


def _errors_as_json(ground: Ground) -> None:
    wanted = {"Accept": "application/json"}
    answer = ground.server.request("GET", "/nothing", headers=wanted)
    assert (answer.status, answer.headers["Content-Type"]) == (404, "application/json")
    assert answer.json["error"]["code"] == 404


def _request_id(ground: Ground) -> None:
    given = ground.server.request("GET", "/ping", headers={"X-Request-Id": "mine-1"})
    assert given.headers["X-Request-Id"] == "mine-1"
    assert ground.server.request("GET", "/ping").headers["X-Request-Id"]


def _probabilities(ground: Ground) -> None:
    rows = send(ground, "image_exact").json["prediction"]
    assert [len(row) for row in rows] == [5]
    values = [one["probability"] for one in rows[0]]
    assert values == sorted(values, reverse=True)
    assert all(float(np.float32(value)) == value for value in values)
    assert all(one.keys() == {"class", "probability"} for one in rows[0])


def _greyscale_and_alpha(ground: Ground) -> None:
    with Image.open(io.BytesIO(picture("exact.png"))) as scene:
        for mode in ("L", "RGBA", "P"):
            target = io.BytesIO()
            scene.convert(mode).save(target, "PNG")
            request = form("photo", ("data", File(target.getvalue())))
            answer = ground.server.request("POST", request.path, request.body, request.headers)
            assert answer.status == 200, mode


ROUTES = (
    kept("7.1", 'GET /ping is 200 with {"health": "healthy!"}.', same("ping", "ping_origin")),
    kept("7.1", "GET / gives the same answer as /ping.", same("root")),
    kept(
        "7.1",
        "HEAD is allowed on every route with GET.",
        same("ping_head", "root_head", "description_head"),
    ),
    kept("7.1", "OPTIONS is allowed on every route.", same("ping_options", "predict_options")),
    kept(
        "7.1",
        "A path with an additional slash is 404.",
        same("ping_slash", "description_slash", "predict_slash"),
    ),
    kept(
        "7.4",
        "An unknown path or model is 404 with the standard text.",
        same("unknown_path", "unknown_path_post", "unknown_path_options", "unknown_model"),
    ),
    kept(
        "7.4",
        "A wrong method is 405 with the standard text and Allow.",
        same(
            "ping_post",
            "description_post",
            "predict_get",
            "predict_head",
            "predict_put",
            "predict_delete",
        ),
    ),
    kept(
        "7.5",
        "A preflight is an empty 200 with all methods and the requested headers.",
        same("preflight", "preflight_ping"),
    ),
    kept(
        "7.5",
        "An Origin is echoed with Vary: Origin, also on predictions and errors; else * is sent.",
        same("image_origin", "numbers_origin", "not_found_origin"),
    ),
    kept(
        "7.6",
        "/api-description describes a JSON model in Swagger 2.0.",
        _description("description", "single"),
    ),
    kept(
        "7.6",
        "/api-description describes a picture as a file, with its size.",
        _description("description_image", "photo"),
    ),
    kept(
        "7.6",
        "/api-description has one parameter per input.",
        _description("description_pair", "pair"),
    ),
    kept(
        "7.6",
        "/api-description describes an output_type of image/jpeg as a file.",
        _description("description_image_out", "picture_out"),
    ),
    beyond("7.4", "An error is JSON for a client that accepts JSON and not HTML.", _errors_as_json),
    beyond(
        "7.3",
        "Every answer has an X-Request-Id: the client's, if the client sent one.",
        _request_id,
    ),
)

PICTURES = (
    kept(
        "7.2",
        "A picture may be a file part of type image/jpeg with the name of the input.",
        same("image", "image_exact"),
    ),
    kept(
        "7.2",
        "A picture may be a form field in base64, urlencoded or multipart.",
        same("image_base64", "image_base64_multipart"),
    ),
    fixed(
        "7.2",
        "Base64 without padding is a 400 (in 0.4; accepted at the end of 0.x).",
        "It is accepted.",
        instead("image_base64_unpadded", original=400, status=200),
    ),
    fixed(
        "7.2",
        "Text that is not base64 kills the worker.",
        "It is a 400.",
        instead("image_base64_not", original=None, status=400, text="not base64"),
    ),
    kept(
        "7.2",
        "A file part takes precedence over a form field of the same name.",
        same("image_file_and_field"),
    ),
    kept("7.2", "If several parts have the same name, the first one counts.", same("image_twice")),
    kept(
        "7.2",
        "Fields whose name is not that of an input are ignored.",
        same("image_extra", "numbers_extra"),
    ),
    kept("7.2", "The query string is ignored.", same("image_query")),
    kept(
        "7.2",
        "A raw body or a JSON body is not read by /predict.",
        same("image_raw", "image_json_body"),
    ),
    kept(
        "7.4",
        "A missing picture is a 400 that names the field.",
        same("image_missing", "image_no_body"),
    ),
    kept(
        "7.4",
        "A part of another MIME type is a 400 that names both types.",
        same("image_png_type", "image_no_type_parameter"),
    ),
    kept("7.4", "An exception of the service is a 500 with one fixed text.", same("image_text")),
    kept(
        "7.4",
        "A PNG sent as image/jpeg and a grey JPEG are accepted.",
        same("image_exact", "image_grey"),
    ),
    fixed(
        "7.4",
        "A truncated JPEG gets a different prediction each time.",
        "It is a 500, because the picture is incomplete.",
        instead("image_truncated", original=200, status=500, text=_FAILED),
    ),
    fixed(
        "7.4",
        "An empty file kills the worker and all its requests.",
        "It is a 400.",
        instead("image_empty", original=None, status=400, text="data is empty."),
    ),
    fixed(
        "3.8",
        "nginx answers 413 to uploads over 1 MiB.",
        "The limit is 64 MiB. A larger body gets 413 with a text that names the limit.",
        _large_upload,
    ),
    beyond(
        "7.4",
        "Greyscale, palette and transparent PNGs are accepted as pictures.",
        _greyscale_and_alpha,
    ),
    kept(
        "7.3",
        "A vision service answers five classes per output, the most probable first, as float32.",
        _probabilities,
    ),
    kept(
        "7.3",
        "Keys are sorted, and a newline ends the answer; the spacing may differ.",
        same("image_xhr", "own_answer"),
    ),
)

NUMBERS = (
    kept(
        "7.2",
        "A JSON input is a form field that contains a list, urlencoded or multipart.",
        same("numbers", "numbers_urlencoded"),
    ),
    kept(
        "7.2", "The client chooses the batch: two rows in give two rows out.", same("numbers_batch")
    ),
    kept("7.2", "A Python literal is accepted.", same("numbers_literal", "numbers_python_words")),
    fixed(
        "7.2",
        "JSON's true, false and null are a 400.",
        "They are accepted.",
        instead("numbers_json_words", original=400, status=200),
    ),
    fixed(
        "7.2",
        "A list in a file part is a 400.",
        "It is accepted.",
        instead("numbers_file", original=400, status=200, body=_NUMBERS),
    ),
    kept(
        "7.2",
        "Each input of a signature is a separate field; the order of the fields is free.",
        same("two_inputs", "two_inputs_swapped"),
    ),
    kept(
        "7.2", "If several fields have the same name, the first one counts.", same("numbers_twice")
    ),
    kept(
        "7.4",
        "A missing or malformed list is a 400, with the text of Python 3.",
        same(
            "numbers_missing",
            "numbers_no_body",
            "numbers_words",
            "numbers_call",
            "numbers_json_body",
            "numbers_raw",
            "two_inputs_one",
            text="malformed node or string: ",
        ),
    ),
    kept(
        "7.4",
        "A literal that is not a list is a 400 that names its type.",
        same("numbers_object", "numbers_number"),
    ),
    kept(
        "8.3",
        "A shape, rank or type that differs from the signature is a 500.",
        same("numbers_shape", "numbers_rank", "numbers_ragged", "numbers_strings"),
    ),
    kept(
        "7.3",
        "The base service answers each output as the text of its nested list.",
        same("numbers"),
    ),
    kept("7.3", "A custom service may answer any JSON value.", same("own_answer")),
    kept("7.3", "An output_type of image/jpeg does not change the answer.", same("image_out")),
)


def _one_service_per_model(ground: Ground) -> None:
    assert send(ground, "image_exact").json["prediction"][0][0].keys() == {"class", "probability"}
    assert isinstance(send(ground, "own_answer").json["prediction"], dict)
    assert_close(send(ground, "numbers").json, _NUMBERS, 1e-5)


SEVERAL = (
    fixed(
        "14",
        "One service class serves all models: the first model's.",
        "Each model has its own service class.",
        _one_service_per_model,
    ),
)

ROWS = (*ROUTES, *PICTURES, *NUMBERS, *SEVERAL)
