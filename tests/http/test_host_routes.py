"""Tests of routes that describe models: lists, pages, health, OpenAPI, and unknown paths."""

from __future__ import annotations

from openapi_spec_validator import validate

from tests.fixtures.servers import Server


def test_models_are_listed_in_pages(server: Server) -> None:
    row = {"modelVersion": "1", "status": "Healthy"}
    names = ("colors", "pair", "scripted")
    assert server.request("GET", "/models").json == {
        "models": [{"modelName": name, **row} for name in names]
    }
    first = server.request("GET", "/models?limit=2").json
    assert [one["modelName"] for one in first["models"]] == ["colors", "pair"]
    token = first["nextPageToken"]
    rest = server.request("GET", f"/models?limit=2&next_page_token={token}").json
    assert [one["modelName"] for one in rest["models"]] == ["scripted"]
    assert "nextPageToken" not in rest


def test_pages_out_of_range_are_empty_or_refused(server: Server) -> None:
    for query in ("limit=0", "limit=-1", "limit=x", "next_page_token=x", "limit=1" + "0" * 3000):
        answer = server.request("GET", f"/models?{query}")
        assert answer.status in {200, 400}, query
    assert server.request("GET", "/models?limit=0").json["type"] == "BadRequestException"
    assert server.request("GET", "/models?next_page_token=999").json == {"models": []}


def test_a_model_is_described(server: Server) -> None:
    about = server.request("GET", "/models/pair").json
    assert about["minWorkers"] == about["maxWorkers"] == 1
    assert about["workers"] == [{"id": "0", "status": "READY"}]
    assert about["inputs"][0] == {"name": "left", "datatype": "FP32", "shape": [-1, 3]}
    answer = server.request("GET", "/models/nobody")
    assert (answer.status, answer.json["type"]) == (404, "ModelNotFoundException")


def test_ping_of_one_model(server: Server) -> None:
    assert server.request("GET", "/pair/ping").json == {"health": "healthy!"}
    assert server.request("GET", "/nobody/ping").status == 404


def test_the_openapi_document_is_valid(server: Server) -> None:
    document = server.request("GET", "/openapi.json").json
    validate(document)
    assert {"/pair/predict", "/predictions/colors", "/v2/models/scripted/infer"} <= set(
        document["paths"]
    )


def test_unknown_paths_are_404(server: Server) -> None:
    for path, kind in {
        "/nothing": "text/html",
        "/pair/predict/": "text/html",
        "/nobody/predict": "text/html",
        "/models/": "application/json",
        "/v2/models": "application/json",
        "/predictions/": "application/json",
    }.items():
        answer = server.request("POST", path, b"")
        assert (answer.status, answer.headers["Content-Type"]) == (404, kind), path
    assert server.request("GET", "/nobody/predict").status == 404
    assert server.request("OPTIONS", "/nobody/predict").status == 404
    assert server.request("GET", "/pair/predict").status == 405
