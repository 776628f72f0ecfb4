"""Real server processes on loopback: the standalone server, and a release as systemd starts it."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mms_server import generations
from mms_server.archive import unpack
from mms_server.generations import Generation
from mms_server.layout import Layout
from mms_server.release import Part, Release, write_atomically
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
WAIT_S = 30.0
LOOK_S = 8.0

Fields = Mapping[str, bytes | tuple[str, str, bytes]]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


@dataclass
class Server:
    """A running server; ``place`` is its port or its Unix socket."""

    place: int | Path
    process: subprocess.Popen[bytes]
    log: Path
    alive: Path = Path()

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        timeout: float = WAIT_S,
    ) -> Answer:
        if isinstance(self.place, int):
            connection = http.client.HTTPConnection("127.0.0.1", self.place, timeout=timeout)
        else:
            connection = UnixConnection(self.place, timeout)
        with contextlib.closing(connection):
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, dict(response.headers), response.read())

    def predict(self, model: str, fields: Fields, **headers: str) -> Answer:
        """Post a form: a value is a text field, a tuple is a file (name, type, content)."""
        return self.post_form(f"/{model}/predict", fields, **headers)

    def post_form(self, path: str, fields: Fields, **headers: str) -> Answer:
        body, content_type = multipart(fields)
        every = {"Content-Type": content_type, **headers}
        return self.request("POST", path, body, every)

    def connect(self, timeout: float = WAIT_S) -> socket.socket:
        """Return a raw connection."""
        if isinstance(self.place, int):
            return socket.create_connection(("127.0.0.1", self.place), timeout)
        raw = socket.socket(socket.AF_UNIX)
        raw.settimeout(timeout)
        raw.connect(str(self.place))
        return raw

    def workers(self) -> list[int]:
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children")
        return [int(child) for child in children.read_text().split()]


def multipart(fields: Fields) -> tuple[bytes, str]:
    boundary = uuid.uuid4().hex
    lines = []
    for name, value in fields.items():
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"'
        if isinstance(value, tuple):
            file_name, kind, content = value
            head += f'; filename="{file_name}"\r\nContent-Type: {kind}'
        else:
            content = value
        lines.append(head.encode() + b"\r\n\r\n" + content + b"\r\n")
    body = b"".join(lines) + f"--{boundary}--\r\n".encode()
    return body, f"multipart/form-data; boundary={boundary}"


@contextlib.contextmanager
def standalone(directory: Path, models: Mapping[str, Path], *arguments: str) -> Iterator[Server]:
    """Run ``mxnet-model-server`` on a free port."""
    port = free_port()
    log = directory / "standalone.log"
    pairs = [f"{name}={path}" for name, path in models.items()]
    command = [str(BIN / "mxnet-model-server"), "--models", *pairs, f"--port={port}", *arguments]
    with log.open("wb") as stream:
        # Its log file is made where it runs.
        process = subprocess.Popen(command, stderr=stream, stdout=stream, cwd=directory)
    server = Server(port, process, log)
    try:
        _wait_for_ping(server, "/ping")
        yield server
    finally:
        _end(process)


def write_release(root: Path, archive: Path, **changes: Any) -> Release:
    """Put an archive and its release where a worker looks for them."""
    digest = _stored(root, archive)
    made = Release(model=archive.stem, archive_sha256=digest, workers=1, runtime=str(BIN.parent))
    return _written(root, dataclasses.replace(made, **changes))


def write_group(root: Path, name: str, archives: Mapping[str, Path], **changes: Any) -> Release:
    """Put archives, by endpoint name, and the release of their group where a worker looks."""
    parts = {model: Part(_stored(root, archive)) for model, archive in archives.items()}
    made = Release(name, "", 1, str(BIN.parent), group=parts, max_batch_size=1)
    return _written(root, dataclasses.replace(made, **changes))


def _stored(root: Path, archive: Path) -> str:
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    entry = Layout.under(root).store / digest
    if not entry.exists():
        unpack(archive, entry)
    return digest


def _written(root: Path, release: Release) -> Release:
    layout = Layout.under(root)
    write_atomically(layout.release_file(release.id), release.to_json())
    layout.instance(release.id).mkdir(parents=True, exist_ok=True)
    return release


@contextlib.contextmanager
def release_server(
    root: Path, release: Release, *, wait: bool = True, notify: Path | None = None
) -> Iterator[Server]:
    """Run a release's worker with its socket as descriptor 3, as systemd does."""
    layout = Layout.under(root)
    path = layout.socket(release.id)
    path.unlink(missing_ok=True)
    log = root / f"{release.id}.log"
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen(2048)
    launcher = str(Path(__file__).with_name("pass_socket.py"))
    command = [sys.executable, launcher, str(listening.fileno())]
    worker = ["-m", "mms_server.worker", release.id, "--layout-root", str(root)]
    environ = {**os.environ, "SECRET": "not for models", "PYTHONPATH": str(ROOT)}
    if notify:
        environ["NOTIFY_SOCKET"] = str(notify)
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*command, sys.executable, *worker],
            pass_fds=[listening.fileno()],
            env=environ,
            stderr=stream,
            stdout=stream,
        )
    server = Server(path, process, log, layout.alive_file(release.id))
    try:
        if wait:
            _wait_for_ping(server, f"/{next(iter(release.parts))}/ping")
        yield server
    finally:
        _end(process)
        listening.close()


def write_generation(root: Path, release: Release) -> None:
    """Let a release be all that the host serves."""
    models = dict.fromkeys(release.parts, release.id)
    generation = Generation(1, "2026-01-01T00:00:00+00:00", "test", "mms.conf", models)
    generations.write(Layout.under(root), generation)


@contextlib.contextmanager
def control_server(root: Path) -> Iterator[int]:
    """Run the host's control application on its socket; yield its process id."""
    path = Layout.under(root).run / "control.sock"
    path.unlink(missing_ok=True)
    command = [sys.executable, "-m", "mms_server.control", f"--bind=unix:{path}"]
    process = subprocess.Popen([*command, f"--layout-root={root}"], cwd=ROOT)
    try:
        until(path.exists)
        yield process.pid
    finally:
        _end(process)


def until(true: Any, wait_s: float = WAIT_S) -> float:
    """Return the seconds until ``true()`` holds."""
    started = time.monotonic()
    while not true():
        if time.monotonic() - started > wait_s:
            raise AssertionError(f"not so within {wait_s} s")
        time.sleep(0.01)
    return time.monotonic() - started


def _wait_for_ping(server: Server, path: str) -> None:
    def answers() -> bool:
        assert server.process.poll() is None, server.log.read_text()
        try:
            # The socket is open before the server is there, and stays if it ends.
            return server.request("GET", path, timeout=LOOK_S).status == 200
        except (ConnectionRefusedError, TimeoutError):
            return False

    until(answers)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)
