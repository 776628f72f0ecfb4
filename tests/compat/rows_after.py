"""Rows about routes that 0.4 did not have: 1.x (compatibility.md, 17), Open Inference Protocol."""

from __future__ import annotations

from tests.compat.replay import assert_close, send
from tests.compat.request_table import picture
from tests.compat.rows import Ground, beyond, fixed
from tests.fixtures.servers import Answer

_JSON = {"Content-Type": "application/json"}


def _post(ground: Ground, path: str, body: bytes, kind: str = "application/json") -> Answer:
    return ground.server.request("POST", path, body, {"Content-Type": kind})


def _bare(ground: Ground) -> None:
    wrapped = send(ground, "image_exact").json["prediction"]
    for path in ("/predictions/photo", "/models/photo/invoke", "/invocations?model_name=photo"):
        answer = _post(ground, path, picture("exact.png"), "image/jpeg")
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json"), path
        assert answer.json == wrapped
    listed = _post(ground, "/predictions/pair", b'{"left": [[1, 2, 3]], "right": [[1, 1, 1]]}')
    assert listed.json == send(ground, "two_inputs").json["prediction"]


def _json_errors(ground: Ground) -> None:
    answer = _post(ground, "/predictions/nobody", b"[]")
    assert answer.status == 404
    assert answer.json == {
        "code": 404,
        "type": "ModelNotFoundException",
        "message": "Model not found: nobody",
    }
    assert _post(ground, "/predictions/single", b"{}").json["type"] == "BadRequestException"


def _honest_codes(ground: Ground) -> None:
    answer = _post(ground, "/predictions/single", b"[[1, 2]]")
    assert (answer.status, answer.json["type"]) == (500, "InternalServerException")
    assert ground.server.request("GET", "/predictions/single").status == 405


def _which_model(ground: Ground) -> None:
    assert _post(ground, "/invocations", b"[[1, 2, 3]]").status == 400


def _models(ground: Ground) -> None:
    names = [row["modelName"] for row in ground.server.request("GET", "/models").json["models"]]
    assert names == sorted(ground.archives)
    assert ground.server.request("GET", "/models/single").json["status"] == "Healthy"


def _openapi(ground: Ground) -> None:
    document = ground.server.request("OPTIONS", "/predictions/single").json
    assert document["openapi"].startswith("3.")
    whole = ground.server.request("GET", "/openapi.json").json
    assert {"/single/predict", "/predictions/single", "/ping"} <= set(whole["paths"])


def _model_ping(ground: Ground) -> None:
    assert ground.server.request("GET", "/single/ping").json == {"health": "healthy!"}
    assert ground.server.request("GET", "/nobody/ping").status == 404


def _oip(ground: Ground) -> None:
    body = b'{"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}'
    answer = _post(ground, "/v2/models/single/infer", body)
    assert answer.status == 200
    recorded = [2.0600686073303223, -2.510288953781128]
    assert_close(answer.json["outputs"][0]["data"], recorded, 1e-5)
    assert ground.server.request("GET", "/v2/health/ready").json == {"ready": True}


ROWS = (
    beyond(
        "17.3",
        "The prediction routes of 1.x accept raw and JSON bodies and answer the bare prediction.",
        _bare,
    ),
    beyond(
        "17.3",
        "/invocations without a model name is a 400 if several models are served.",
        _which_model,
    ),
    beyond(
        "17.5", "Errors of the routes of 1.x are JSON with code, type and message.", _json_errors
    ),
    fixed(
        "17.5",
        "1.x answers 503 to every exception of a handler, and to a GET.",
        "An exception is a 500, a GET is a 405.",
        _honest_codes,
    ),
    beyond("17.3", "GET /models lists the models, GET /models/<name> describes one.", _models),
    beyond(
        "17.6",
        "OPTIONS on a route describes one model in OpenAPI 3, /openapi.json describes all.",
        _openapi,
    ),
    beyond("17.4", "GET /<name>/ping answers the health of one model.", _model_ping),
    beyond("17.3", "The Open Inference Protocol 2 serves the same models.", _oip),
)
