"""Every route through nginx: the requests that reach a model, and the errors of nginx itself."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import requests

from tests import lab

TIMEOUT_S = 60
PICTURE = {"Content-Type": "image/jpeg"}


@pytest.mark.parametrize(
    "path",
    ["/predictions/digits", "/models/digits/invoke", "/invocations?model_name=digits"],
)
def test_prediction_routes_of_1x(machine: lab.Machine, path: str) -> None:
    seven = lab.SEVEN.read_bytes()
    answer = requests.post(machine.url + path, seven, headers=PICTURE, timeout=TIMEOUT_S)
    assert answer.status_code == 200, answer.text
    assert answer.json()[0][0]["class"] == "7"


@pytest.mark.parametrize("version", ["", "/versions/{}"])
def test_the_open_inference_protocol(machine: lab.Machine, version: str) -> None:
    about = requests.get(f"{machine.url}/v2/models/digits", timeout=TIMEOUT_S).json()
    row = {**about["inputs"][0], "data": [base64.b64encode(lab.SEVEN.read_bytes()).decode()]}
    path = f"/v2/models/digits{version.format(about['versions'][0])}/infer"
    answer = requests.post(machine.url + path, json={"inputs": [row]}, timeout=TIMEOUT_S)
    assert answer.status_code == 200, answer.text
    data = answer.json()["outputs"][0]["data"]
    assert data.index(max(data)) == 7


def test_invocations_of_the_only_model(machine: lab.Machine, host: Any) -> None:
    names = [each["model"] for each in json.loads(host.check_output("mms status --json"))["models"]]
    seven = lab.SEVEN.read_bytes()
    url = f"{machine.url}/invocations"
    answer = requests.post(url, seven, headers=PICTURE, timeout=TIMEOUT_S)
    assert answer.status_code == (200 if len(names) == 1 else 400), answer.text


@pytest.mark.parametrize(
    ("path", "status", "key"),
    [
        ("/nobody/predict", 404, None),
        ("/predictions/nobody", 404, "message"),
        ("/models/nobody/invoke", 404, "message"),
        ("/invocations?model_name=nobody", 404, "message"),
        ("/invocations?model_name=../digits", 404, "message"),
        ("/v2/models/nobody/infer", 404, "error"),
        ("/v2/models/digits/versions/0/infer", 404, "error"),
        ("/predictions/digits/", 404, "message"),
        ("/predictions/@only", 404, "message"),
    ],
)
def test_unknown_models_and_routes(
    machine: lab.Machine, path: str, status: int, key: str | None
) -> None:
    answer = requests.post(machine.url + path, b"{}", timeout=TIMEOUT_S)
    assert answer.status_code == status, answer.text
    if key:
        assert key in answer.json()
    else:
        assert answer.headers["Content-Type"] == "text/html"


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/digits/predict", None),
        ("/predictions/digits", "message"),
        ("/v2/models/x/infer", "error"),
    ],
)
def test_a_body_over_the_limit(machine: lab.Machine, path: str, key: str | None) -> None:
    answer = requests.post(machine.url + path, b" " * (65 * 1024 * 1024), timeout=TIMEOUT_S)
    assert answer.status_code == 413
    if key:
        assert "larger than the limit" in answer.json()[key]
    else:
        assert answer.headers["Content-Type"] == "text/html"
    asked = {"Accept": "application/json"}
    assert requests.get(f"{machine.url}/ping", headers=asked, timeout=TIMEOUT_S).status_code == 200


def test_a_client_cannot_forge_an_error_of_nginx(machine: lab.Machine) -> None:
    for path in ("/ping", "/nobody/predict"):
        forged = {"X-Mms-Error": "413"}
        answer = requests.get(machine.url + path, headers=forged, timeout=TIMEOUT_S)
        assert answer.status_code in {200, 404}


def test_the_routes_of_the_host(machine: lab.Machine) -> None:
    document = requests.get(f"{machine.url}/openapi.json", timeout=TIMEOUT_S).json()
    version = requests.get(f"{machine.url}/models/digits", timeout=TIMEOUT_S).json()["modelVersion"]
    paths = [path for path, methods in document["paths"].items() if "get" in methods]
    # Only the host itself may read it: see test_metrics.py.
    paths.remove("/metrics")
    assert len(paths) > 10
    for path in paths:
        asked = path.replace("{name}", "digits").replace("{version}", version)
        answer = requests.get(machine.url + asked, timeout=TIMEOUT_S)
        assert answer.status_code == 200, f"{asked}: {answer.text}"
