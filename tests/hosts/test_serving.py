"""Requests of a client through nginx."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from tests import lab

LABELS = lab.MODELS / "images" / "labels.json"


def test_ping(machine: lab.Machine) -> None:
    answer = requests.get(f"{machine.url}/ping", timeout=10)
    assert (answer.status_code, answer.json()) == (200, {"health": "healthy!"})


def test_images_get_their_class(machine: lab.Machine) -> None:
    labels = sorted(json.loads(LABELS.read_text(encoding="utf-8")).items())[:40]
    wrong = [
        name
        for name, label in labels
        if lab.predict(machine, lab.MODELS / "images" / name)["class"] != label
    ]
    # The model's accuracy on all test images is 0.98 or better.
    assert len(wrong) <= 1, wrong


def test_description_names_the_model(machine: lab.Machine) -> None:
    answer = requests.get(f"{machine.url}/api-description", timeout=10)
    assert "/digits/predict" in answer.json()["description"]["paths"]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["/unknown/predict", "/nothing", "/digits/predict/more"])
def test_unknown_path_is_the_servers_404(machine: lab.Machine, method: str, path: str) -> None:
    answer = requests.request(method, f"{machine.url}{path}", data=b"x" * 2048, timeout=10)
    assert answer.status_code == 404
    assert "<p>The requested URL was not found on the server." in answer.text


def test_too_large_body_is_refused_by_nginx(machine: lab.Machine) -> None:
    headers = {"Content-Length": str(65 * 1024 * 1024)}
    prepared = requests.Request("POST", f"{machine.url}/digits/predict", data=b"x").prepare()
    prepared.headers.update(headers)
    with requests.Session() as session:
        assert session.send(prepared, timeout=10).status_code == 413


def test_the_router_serves_the_same_routes_as_the_edge(host: Any, machine: lab.Machine) -> None:
    assert lab.predict(machine)["class"] == "7"
    answer = host.check_output("curl -s --unix-socket /tmp/mms_app.sock http://localhost/ping")
    assert json.loads(answer) == {"health": "healthy!"}


def test_access_log_is_json(host: Any, machine: lab.Machine) -> None:
    lab.predict(machine)
    line = host.check_output("grep digits/predict /var/log/nginx/access.log | tail -n 1")
    entry = json.loads(line)
    assert (entry["model"], entry["status"], entry["upstream_status"]) == ("digits", 200, "200")
