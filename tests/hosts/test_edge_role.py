"""The role's own server block with all its options, on the first host; restored afterwards."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from mms_server.server import auth
from tests import lab

OLD, NEW = auth.new_key(), auth.new_key()
BODY_LIMIT = 4096
KEYS = [
    {"name": "old", "sha256": auth.digest(OLD)},
    {"name": "new", "sha256": auth.digest(NEW)},
]
VARIABLES = {
    "nginx_proxy_tls": "self_signed",
    "nginx_proxy_redirect": True,
    "nginx_proxy_hsts_s": 3600,
    "nginx_proxy_require_key": True,
    "nginx_proxy_api_keys": KEYS,
    "nginx_proxy_description_allow": ["127.0.0.1"],
    "nginx_proxy_models": [
        {"name": "digits", "rate": "1r/m", "burst": 2, "max_body": str(BODY_LIMIT)}
    ],
}

pytestmark = [
    pytest.mark.fleet,
    pytest.mark.timeout(400),
    # The certificate is self-signed.
    pytest.mark.filterwarnings("ignore:Unverified HTTPS request"),
]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lab.Machine]:
    """The first host, with all options on; restored afterwards."""
    first = lab.fleet()[0]
    values = tmp_path_factory.mktemp("edge") / "values.json"
    values.write_text(json.dumps(VARIABLES), encoding="utf-8")
    where = (f"--limit={first.name}", "--tags=nginx_proxy")
    try:
        done = lab.playbook("playbooks/configure.yml", *where, f"--extra-vars=@{values}")
        assert done.returncode == 0, done.stdout
        yield first
    finally:
        done = lab.playbook("playbooks/configure.yml", *where)
        assert done.returncode == 0, done.stdout
    assert lab.predict(first)["class"] == "7"


def ask(
    machine: lab.Machine, path: str, key: str = "", body: bytes | None = None, **more: str
) -> requests.Response:
    headers = more | ({"Authorization": f"Bearer {key}"} if key else {})
    method = "GET" if body is None else "POST"
    url = f"https://{machine.address}{path}"
    return requests.request(method, url, headers=headers, data=body, timeout=60, verify=False)  # noqa: S501


def processes(machine: lab.Machine) -> str:
    return lab.on(machine, "pgrep --exact nginx")


def write_keys(machine: lab.Machine, tmp_path: Path, *rows: dict[str, str]) -> None:
    file = tmp_path / "api_keys"
    file.write_text("".join(f"{row['sha256']} {row['name']}\n" for row in rows))
    lab.copy(machine, file, "/tmp/api_keys")  # noqa: S108 - of the host
    lab.on(machine, "install -o root -g mms -m 0640 /tmp/api_keys /etc/mms/keys/api_keys")


def test_tls_http2_redirect_and_headers(machine: lab.Machine) -> None:
    answer = requests.post(f"{machine.url}/digits/predict", timeout=10, allow_redirects=False)
    assert answer.status_code == 308
    assert answer.headers["Location"] == f"https://{machine.address}/digits/predict"
    assert requests.get(f"{machine.url}/ping", timeout=10).status_code == 200
    answer = ask(machine, "/ping")
    assert (answer.status_code, answer.json()) == (200, {"health": "healthy!"})
    assert answer.headers["Strict-Transport-Security"] == "max-age=3600"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection((machine.address, 443), 10) as plain,
        context.wrap_socket(plain) as secured,
    ):
        assert (secured.version(), secured.selected_alpn_protocol()) == ("TLSv1.3", "h2")


def test_the_router_sends_the_same_headers(machine: lab.Machine) -> None:
    """[Nginx Configurations] passes requests to the router."""
    text = lab.on(machine, "curl -s -D - -o /dev/null --unix-socket /tmp/mms_app.sock http://h/v2")
    lines = [line.strip().lower() for line in text.splitlines()]
    assert lines[0].startswith("http/1.1 401")
    assert lines.count("strict-transport-security: max-age=3600") == 1
    assert lines.count("x-content-type-options: nosniff") == 1
    assert lines.count("x-frame-options: deny") == 1
    assert sum(line.startswith("x-request-id:") for line in lines) == 1


def test_verify_asks_by_tls_with_a_key(machine: lab.Machine) -> None:
    more = {
        "mms_verify_scheme": "https",
        "mms_verify_port": 443,
        "mms_verify_certificates": False,
        "mms_verify_key": NEW,
    }
    where = f"--limit={machine.name}"
    done = lab.playbook("playbooks/verify.yml", where, f"--extra-vars={json.dumps(more)}")
    assert done.returncode == 0, done.stdout
    assert f"https://{machine.address}/digits/predict" in done.stdout


def test_keys_are_required_and_change_without_a_reload(
    machine: lab.Machine, tmp_path: Path
) -> None:
    before = processes(machine)
    refused = ask(machine, "/v2")
    assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert refused.json()["type"] == "UnauthorizedException"
    path = "/digits/ping"
    assert [ask(machine, path, key).status_code for key in (OLD, NEW, NEW[1:])] == [200, 200, 401]
    write_keys(machine, tmp_path, KEYS[1])
    assert [ask(machine, path, key).status_code for key in (OLD, NEW)] == [401, 200]
    write_keys(machine, tmp_path, *KEYS)
    assert ask(machine, path, OLD).status_code == 200
    # For a request with a time limit, one subrequest of nginx checks both deadline and key.
    with_deadline = {"X-Request-Timeout-Ms": "5000"}
    found = [
        ask(machine, "/nobody/predict", key, b"", **with_deadline) for key in ("", NEW[1:], NEW)
    ]
    assert [answer.status_code for answer in found] == [401, 401, 404]
    # The router checks keys too, for requests through [Nginx Configurations].
    router = "curl -s -o /dev/null -w %{http_code} --unix-socket /tmp/mms_app.sock"
    assert lab.on(machine, f"{router} http://localhost/v2") == "401"
    assert processes(machine) == before


def test_only_listed_addresses_get_the_description(machine: lab.Machine) -> None:
    assert ask(machine, "/api-description", NEW).status_code == 403
    local = f"curl -sk -o /dev/null -w %{{http_code}} -H 'X-Api-Key: {NEW}'"
    assert lab.on(machine, f"{local} https://127.0.0.1/api-description") == "200"


def test_a_body_just_under_and_just_over_the_limit(machine: lab.Machine) -> None:
    path = "/invocations?model_name=digits"
    assert ask(machine, path, NEW, b"x" * (BODY_LIMIT + 1)).status_code == 413
    # The body reaches the model, which finds no picture in it.
    assert ask(machine, path, NEW, b"x" * BODY_LIMIT).status_code in {400, 500}


def test_a_model_with_too_many_requests(machine: lab.Machine) -> None:
    statuses = []
    for _ in range(4):
        answer = ask(machine, "/digits/predict", NEW, b"")
        statuses.append(answer.status_code)
    # The rate is one per minute with a burst of two; the test before has used one.
    assert statuses[-1] == 429
    assert answer.headers["Retry-After"] == "1"
    assert answer.json()["type"] == "TooManyRequestsException"
    assert ask(machine, "/digits/ping", NEW).status_code == 200


def test_the_log_names_the_key_and_is_rotated_without_a_reload(machine: lab.Machine) -> None:
    before = processes(machine)
    lab.on(machine, "logrotate --force /etc/logrotate.d/nginx")
    time.sleep(1)
    identity = ask(machine, "/digits/ping", NEW).headers["X-Request-Id"]
    line = lab.on(machine, f"grep {identity} /var/log/nginx/access.log")
    entry = json.loads(line)
    assert (entry["key"], entry["tls"], entry["status"]) == ("new", "TLSv1.3", 200)
    assert float(entry["upstream_header_seconds"].split(" : ")[-1]) >= 0
    assert processes(machine) == before
