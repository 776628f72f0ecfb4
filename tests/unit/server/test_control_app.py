"""The control application: health and description of a host, from files and kernel only."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest

from mms_server.core.paths import Layout
from mms_server.crashes import crash_history, start_history
from mms_server.crashes.crash_history import CrashHistory
from mms_server.crashes.start_history import StartHistory
from mms_server.deploy.apply import apply
from mms_server.host import generations, live_links
from mms_server.host.generations import Generation
from mms_server.host.instance_files import InstanceFiles
from mms_server.overload.queue_delay import QueueDelayRecorder
from mms_server.overload.worker_load import WorkerLoad
from mms_server.server import auth, control_app, health
from tests.fixtures.crash_reports import certificate, instance_files
from tests.fixtures.fake_host import FakeHost
from tests.fixtures.servers import BIN

_HOLDER = """
import sys, time
from pathlib import Path
from mms_server.host.process_liveness import lock_slot
for slot in sys.argv[2:]:
    lock_slot(Path(sys.argv[1]), int(slot))
print("held", flush=True)
time.sleep(60)
"""


@contextmanager
def _alive(layout: Layout, release: str, *slots: int) -> Iterator[None]:
    layout.instance(release).mkdir(parents=True, exist_ok=True)
    words = [str(layout.alive_file(release)), *map(str, slots)]
    process = subprocess.Popen([sys.executable, "-c", _HOLDER, *words], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        process.stdout.readline()
        yield
    finally:
        process.kill()
        process.wait(timeout=10)
        process.stdout.close()


def _ask(
    app: Any, path: str, method: str = "GET", **more: str
) -> tuple[int, dict[str, str], bytes]:
    environ: dict[str, Any] = {"PATH_INFO": path, "REQUEST_METHOD": method, **more}
    setup_testing_defaults(environ)
    got: list[Any] = []
    body = b"".join(app(environ, lambda status, headers, _error: got.extend((status, headers))))
    return int(got[0].split()[0]), dict(got[1]), body


def _ping(app: Any) -> tuple[int, Any]:
    status, _headers, body = _ask(app, "/ping")
    assert _ask(app, "/")[0] == status
    found = json.loads(body)
    # Other tests check why models are not ready.
    found.pop("models", None)
    return status, found


OF_0_1 = ("/@key", "/@door")
"""The paths in nginx.conf of 0.1, which a host has until `mms edge` writes the one of 0.2."""

_HEALTHY = (200, {"health": "healthy!"})
_UNHEALTHY = (503, {"health": "unhealthy!"})


def test_a_host_without_a_generation_is_not_healthy(tmp_path: Path) -> None:
    assert _ping(control_app.create_app(str(tmp_path))) == _UNHEALTHY


def test_health_follows_the_processes_and_the_links(fake: FakeHost) -> None:
    apply(fake.host, fake.write_conf({"a": "1", "b": "1"}))
    live = live_links.read(fake.layout)
    app = control_app.create_app(str(fake.root))
    assert _ping(app) == _UNHEALTHY
    with _alive(fake.layout, live["a"], 0, 1):
        assert _ping(app) == _UNHEALTHY
        with _alive(fake.layout, live["b"], 0):
            assert _ping(app) == _UNHEALTHY, "a master without a worker does not serve"
        with _alive(fake.layout, live["b"], 3):
            assert _ping(app) == _UNHEALTHY, "a worker without a master is about to end"
        with _alive(fake.layout, live["b"], 0, 3):
            assert _ping(app) == _HEALTHY
            live_links.point(fake.layout, "b", live["a"])
            assert _ping(app) == _UNHEALTHY, "requests for b would go elsewhere"
            live_links.point(fake.layout, "b", "b.0000abcd")
            assert _ping(app) == _UNHEALTHY, "no process of that release is alive"
            with _alive(fake.layout, "b.0000abcd", 0, 3):
                assert _ping(app) == _HEALTHY, "a change is between its switch and its end"
            live_links.remove(fake.layout, "b")
            assert _ping(app) == _UNHEALTHY
            live_links.point(fake.layout, "b", live["b"])
            assert _ping(app) == _HEALTHY
    assert _ping(app) == _UNHEALTHY


@pytest.mark.parametrize("trick", ["link", "pipe", "directory"])
def test_a_model_that_replaces_its_lock_file_harms_only_itself(fake: FakeHost, trick: str) -> None:
    apply(fake.host, fake.write_conf({"a": "1", "b": "1"}))
    live = live_links.read(fake.layout)
    app = control_app.create_app(str(fake.root))
    file = fake.layout.alive_file(live["b"])
    file.parent.mkdir(parents=True)
    if trick == "link":
        file.symlink_to("/dev/zero")
    elif trick == "pipe":
        os.mkfifo(file)
    else:
        file.mkdir()
    with _alive(fake.layout, live["a"], 0, 1):
        assert _ping(app) == _UNHEALTHY
        found = json.loads(_ask(app, "/models")[2])
        assert "a" in json.dumps(found)
        text = _ask(app, "/metrics")[2].decode()
        assert 'mms_model_ready{model="a"} 1.0' in text
        assert 'mms_model_ready{model="b"} 0.0' in text


def test_a_user_without_permission_gets_the_reason(
    fake: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(fake.host, fake.write_conf({"a": "1"}))
    live = live_links.read(fake.layout)
    (row,) = health.check_models(fake.layout, live).values()
    assert row.reason == "its server is not running, or still loads the model"

    def forbidden(*_arguments: Any, **_named: Any) -> int:
        raise PermissionError(13, "Permission denied")

    # Root may read every file, so the error is simulated.
    monkeypatch.setattr(os, "open", forbidden)
    (row,) = health.check_models(fake.layout, live).values()
    assert row.reason == "this user may not see whether it runs: ask as root"


def test_a_new_generation_takes_effect_at_once(fake: FakeHost) -> None:
    apply(fake.host, fake.write_conf({"a": "1"}))
    live = live_links.read(fake.layout)
    app = control_app.create_app(str(fake.root))
    with _alive(fake.layout, live["a"], 0, 1):
        for number in range(2, 12):
            assert _ping(app) == _HEALTHY
            generations.write(fake.layout, Generation(number, "", "", "", {"z": "z.00000000"}))
            assert _ping(app) == _UNHEALTHY
            generations.remove(fake.layout, number)


def test_a_broken_generation_file_is_not_healthy(
    fake: FakeHost, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.layout.generations.mkdir(parents=True)
    (fake.layout.generations / "7.json").write_text("{")
    assert _ping(control_app.create_app(str(fake.root))) == _UNHEALTHY
    assert "7.json is not a generation file" in capsys.readouterr().err


def test_the_description_names_the_models_and_the_address_of_the_file(fake: FakeHost) -> None:
    apply(fake.host, fake.write_conf({"a": "1"}, "--host\nexample.org\n--port\n80\n"))
    app = control_app.create_app(str(fake.root))
    status, headers, body = _ask(app, "/api-description")
    answer = json.loads(body)["description"]
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert answer["host"] == "example.org:80"
    assert set(answer["paths"]) == {"/", "/ping", "/api-description", "/a/predict"}
    apply(fake.host, fake.write_conf({"b": "1"}))
    answer = json.loads(_ask(app, "/api-description")[2])["description"]
    assert answer["host"] == "127.0.0.1:8080"
    assert "/b/predict" in answer["paths"]
    assert "/a/predict" not in answer["paths"]


def test_the_description_of_an_empty_host(tmp_path: Path) -> None:
    status, _headers, body = _ask(control_app.create_app(str(tmp_path)), "/api-description")
    assert status == 200
    assert len(json.loads(body)["description"]["paths"]) == 3


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/nope", "GET", 404), ("/ping/", "GET", 404), ("/ping", "POST", 405), ("/ping", "HEAD", 503)],
)
def test_other_paths_are_answered_as_by_0_4(
    tmp_path: Path, path: str, method: str, status: int
) -> None:
    got, headers, body = _ask(control_app.create_app(str(tmp_path)), path, method)
    assert got == status
    assert method == "HEAD" or body.startswith(b"<!DOCTYPE HTML")
    if status == 405:
        assert headers["Allow"] == "HEAD, OPTIONS, GET"


def test_a_model_that_is_not_ready_is_503_and_an_unknown_one_404(fake: FakeHost) -> None:
    apply(fake.host, fake.write_conf({"a": "1"}))
    live = live_links.read(fake.layout)
    app = control_app.create_app(str(fake.root))
    for path in ("/{}/predict", "/predictions/{}", "/models/{}/invoke", "/v2/models/{}/infer"):
        assert _ask(app, path.format("a"), "POST")[0] == 503
        assert _ask(app, path.format("b"), "POST")[0] == 404
        assert _ask(app, path.format("a"))[0] == 405
    assert _ask(app, "/invocations", "POST")[0] == 503
    assert _ask(app, "/invocations", "POST", QUERY_STRING="model_name=b")[0] == 404
    assert _ask(app, "/a/ping")[0] == 503
    assert _ask(app, "/v2/models/a/ready")[0] == 503
    with _alive(fake.layout, live["a"], 0, 1, 2):
        assert _ask(app, "/a/ping")[0] == 200
        about = json.loads(_ask(app, "/models/a")[2])
        assert [one["status"] for one in about["workers"]] == ["READY", "READY"]
        assert about["modelVersion"] == live["a"].rpartition(".")[2]


@pytest.mark.parametrize("code", ["413", "502", "504"])
def test_errors_that_nginx_finds_follow_the_protocol(tmp_path: Path, code: str) -> None:
    app = control_app.create_app(str(tmp_path))
    for path, form in {"/v2/models/a/infer": "error", "/predictions/a": "message"}.items():
        status, headers, body = _ask(app, path, "POST", HTTP_X_MMS_ERROR=code)
        assert (status, headers["Content-Type"]) == (int(code), "application/json")
        assert json.loads(body)[form]
    status, headers, body = _ask(app, "/a/predict", "POST", HTTP_X_MMS_ERROR=code)
    assert (status, headers["Content-Type"]) == (int(code), "text/html")
    assert _ask(app, "/api-description", HTTP_X_MMS_ERROR="499")[0] == 200


def test_the_answer_502_names_the_death_certificate(tmp_path: Path) -> None:
    made = certificate()
    crash_history.write(instance_files(tmp_path).recent, CrashHistory().after(made))
    app = control_app.create_app(str(tmp_path))
    asked = {"HTTP_X_MMS_ERROR": "502", "HTTP_X_REQUEST_ID": "id-1"}
    for path in ("/a/predict", "/predictions/a", "/v2/models/a/infer"):
        status, headers, body = _ask(app, path, "POST", **asked)
        assert (status, headers["X-Request-Id"]) == (502, "id-1")
        assert made.id in body.decode()
    other = {**asked, "HTTP_X_REQUEST_ID": "id-2"}
    began = time.monotonic()
    assert b"Certificate" not in _ask(app, "/a/predict", "POST", **other)[2]
    assert time.monotonic() - began < 3


def test_models_that_are_not_ready_have_a_reason(fake: FakeHost) -> None:
    apply(fake.host, fake.write_conf({"a": "1", "b": "1"}))
    live = live_links.read(fake.layout)
    app = control_app.create_app(str(fake.root))
    loop = InstanceFiles(fake.layout.instance(live["b"]))
    loop.prepare()
    start_history.write(loop.starts, StartHistory(4, time.time(), next=time.time() + 8))
    with _alive(fake.layout, live["a"], 0, 1):
        about = json.loads(_ask(app, "/ping")[2])
        assert set(about["models"]) == {"b"}
        assert about["models"]["b"].startswith("crash loop: 4 starts in a row failed")
        assert json.loads(_ask(app, "/models/b")[2])["reason"] == about["models"]["b"]
        assert "reason" not in json.loads(_ask(app, "/models/a")[2])
        with _alive(fake.layout, live["b"], 0, 1):
            assert json.loads(_ask(app, "/ping")[2]) == {"health": "healthy!"}


def test_no_engine_is_imported() -> None:
    script = (
        "import sys, mms_server.server.control_app, mms_server.cli.main\n"
        "print([name for name in ('mxnet', 'numpy', 'PIL') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


def test_without_a_socket_it_does_not_start(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LISTEN_PID", raising=False)
    assert control_app.main([]) == 2
    assert "Fix: start mms-control.socket" in capsys.readouterr().err


def test_the_command_line() -> None:
    words = control_app.command(Path("/"), None)
    assert words[:3] == [sys.executable, "-m", "gunicorn"]
    assert {"--workers=1", "--worker-class=gevent", "--no-control-socket"} < set(words)
    assert words[-1] == "mms_server.server.control_app:create_app('/')"
    assert "--bind=unix:/x" in control_app.command(Path("/"), "unix:/x")


def test_the_real_process_answers_on_its_socket(tmp_path: Path) -> None:
    address = tmp_path / "control.sock"
    words = ["--layout-root", str(tmp_path), "--bind", f"unix:{address}"]
    process = subprocess.Popen([str(BIN / "mms-control"), *words])
    try:
        deadline = time.monotonic() + 60
        while not address.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(30)
            client.connect(str(address))
            client.sendall(b"GET /ping HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            with client.makefile("rb") as stream:
                answer = stream.read()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert answer.endswith(b'{"health":"unhealthy!"}\n')
        process.terminate()
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.wait(timeout=10)


@pytest.mark.parametrize(("auth_uri", "admission_uri"), [("/@auth", "/@admission"), OF_0_1])
def test_keys_are_checked_for_nginx(tmp_path: Path, auth_uri: str, admission_uri: str) -> None:
    key = auth.new_key()
    file = Layout.under(tmp_path).etc / auth.FILE_NAME
    file.parent.mkdir(parents=True)
    file.write_text(f"{auth.digest(key)} shop\n")
    app = control_app.create_app(str(tmp_path))
    assert _ask(app, auth_uri)[0] == 401
    status, headers, body = _ask(app, auth_uri, HTTP_AUTHORIZATION=f"Bearer {key}")
    assert (status, headers["X-Mms-Key"], body) == (200, "shop", b"")
    assert _ask(app, auth_uri, HTTP_X_API_KEY=key[1:])[0] == 401
    # A browser's preflight request has no key.
    assert _ask(app, auth_uri, HTTP_X_MMS_METHOD="OPTIONS")[0] == 200
    assert _ask(app, auth_uri, HTTP_X_MMS_METHOD="POST")[0] == 401
    # nginx can send one subrequest only: that for a time limit checks the key as well.
    asked = {"HTTP_X_MMS_KEYS": "1", "HTTP_X_MMS_MODEL": "a", "HTTP_X_REQUEST_TIMEOUT_MS": "5"}
    assert _ask(app, admission_uri, **asked)[0] == 401
    status, headers, _body = _ask(app, admission_uri, HTTP_X_API_KEY=key, **asked)
    assert (status, headers["X-Mms-Key"]) == (204, "shop")


@pytest.mark.parametrize(
    ("admission_uri", "proxy_error"), [("/@admission", "deadline_exceeded"), (OF_0_1[1], "late")]
)
def test_requests_that_would_be_late_are_rejected_for_nginx(
    fake: FakeHost, admission_uri: str, proxy_error: str
) -> None:
    apply(fake.host, fake.write_conf({"a": "1"}))
    (release,) = fake.serving()
    of_model = InstanceFiles(fake.layout.instance(release))
    of_model.directory.mkdir(parents=True, exist_ok=True)
    app = control_app.create_app(str(fake.root))
    asked = {"HTTP_X_MMS_MODEL": "a", "HTTP_X_REQUEST_TIMEOUT_MS": "500"}
    worded = {**asked, "HTTP_X_MMS_ERROR": proxy_error}
    assert _ask(app, admission_uri, **asked)[0] == 204
    status, headers, body = _ask(app, "/a/predict", "POST", **worded)
    assert (status, headers["Retry-After"]) == (503, "1")
    assert b"The queue was too long" in body

    QueueDelayRecorder(of_model.queue, time.time).record(1.5, 0.1)
    worker_load = WorkerLoad(of_model.worker_load, 1)
    worker_load.begin(0)
    worker_load.hold(1)
    assert _ask(app, admission_uri, **asked)[0] == 403
    assert _ask(app, admission_uri, **{**asked, "HTTP_X_REQUEST_TIMEOUT_MS": "5000"})[0] == 204
    assert _ask(app, admission_uri, **{**asked, "HTTP_X_REQUEST_TIMEOUT_MS": "soon"})[0] == 204
    assert _ask(app, admission_uri, **{**asked, "HTTP_X_MMS_MODEL": "b"})[0] == 204
    assert _ask(app, admission_uri, **{**asked, "HTTP_X_MMS_MODEL": "@only"})[0] == 403
    status, headers, body = _ask(app, "/a/predict", "POST", **worded)
    assert (status, headers["Retry-After"]) == (503, "2")
    assert b"An answer takes 1.600 s now" in body


@pytest.mark.parametrize("uri", ["/@backlog_full/", "/@full/"])
def test_a_full_backlog_is_answered_for_nginx(fake: FakeHost, uri: str) -> None:
    apply(fake.host, fake.write_conf({"a": "1"}))
    live = live_links.read(fake.layout)
    app = control_app.create_app(str(fake.root))
    assert _ask(app, f"{uri}a")[0] == 503
    assert b"Model a is not ready" in _ask(app, f"{uri}a")[2]
    with _alive(fake.layout, live["a"], 0, 1):
        status, headers, body = _ask(app, f"{uri}a")
    assert (status, headers["Content-Type"]) == (503, "application/json")
    assert int(headers["Retry-After"]) >= 1
    assert json.loads(body)["queue"]["depth"] > 0
