"""The ``mms_app_cpu.conf`` of 0.4 starts on a host as shipped, if its URL can be reached."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests

from testhosts.inventory import read
from tests import lab

pytestmark = [pytest.mark.one_host, pytest.mark.timeout(300)]
TIMEOUT_S = 30
SHIPPED = lab.ROOT / "tests/data/mms_app_cpu.conf"
S3_URL = "https://s3.amazonaws.com/model-server/models/squeezenet_v1.1/squeezenet_v1.1.model"
SETTINGS = "/etc/mms/mms.toml"


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    """The address of a web server on this machine that serves the digits archive."""
    gateway = read(lab.INVENTORY).gateway
    handler = partial(SimpleHTTPRequestHandler, directory=str(lab.MODELS))
    server = ThreadingHTTPServer((gateway, 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    thread.start()
    yield f"{gateway}:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture(autouse=True)
def restored(host: Any) -> Iterator[None]:
    before = host.check_output(f"cat {SETTINGS}")
    yield
    machine = lab.of(host)
    lab.on(machine, f"tee {SETTINGS}", stdin=before + "\n")
    host.run_expect([0], "mxnet-model-server restart --mms-conf /efs/models/mms.conf")
    assert lab.predict(machine)["class"] == "7"


def shipped(machine: lab.Machine, web: str) -> str:
    text = SHIPPED.read_text()
    assert S3_URL in text
    lab.on(
        machine,
        "tee /root/mms_app_cpu.conf",
        stdin=text.replace(S3_URL, f"http://{web}/digits.model"),
    )
    return "/root/mms_app_cpu.conf"


def test_a_private_address_is_refused_until_it_is_allowed(
    machine: lab.Machine, host: Any, web: str
) -> None:
    conf = shipped(machine, web)
    refused = host.run(f"mxnet-model-server restart --mms-config {conf}")
    assert refused.rc == 1
    assert "which is not a public address: name the host in fetch_allow" in refused.stderr
    assert lab.predict(machine)["class"] == "7"


def test_it_starts_as_it_was_shipped(machine: lab.Machine, host: Any, web: str) -> None:
    conf = shipped(machine, web)
    values = host.check_output(f"cat {SETTINGS}")
    allowed = values.replace('fetch_allow = "public"', f'fetch_allow = "public {web}"')
    assert allowed != values
    lab.on(machine, f"tee {SETTINGS}", stdin=allowed + "\n")
    done = host.run(f"mxnet-model-server restart --mms-config {conf}")
    assert done.rc == 0, done
    assert "plain http" in done.stderr
    with lab.SEVEN.open("rb") as stream:
        answer = requests.post(
            f"{machine.url}:8080/squeezenet/predict",
            files={"data": ("seven.jpg", stream, "image/jpeg")},
            timeout=TIMEOUT_S,
        )
    assert answer.json()["prediction"][0][0]["class"] == "7"
    assert requests.get(f"{machine.url}:8080/ping", timeout=TIMEOUT_S).json() == {
        "health": "healthy!"
    }
