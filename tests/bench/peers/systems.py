"""How each peer is installed, started, asked and updated, by its own documentation."""

from __future__ import annotations

import contextlib
import http.client
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import time
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from tests.bench.edge import Programs
from tests.bench.models import ZOO
from tests.bench.peers import environments
from tests.bench.peers.environments import LITSERVE, MULTI_MODEL_SERVER, TORCHSERVE
from tests.compat.record import record
from tests.http.servers import ROOT, multipart

HERE: Final = Path(__file__).parent
_READY_LIMIT_S: Final = 180.0
_ASK_LIMIT_S: Final = 60.0
_END_LIMIT_S: Final = 20.0
_SHOWN: Final = 1500
_UNPACK: Final = (
    "import sys; from mms.model_loader import ModelLoader; "
    "ModelLoader.load(dict([sys.argv[1].split('=', 1)]))"
)
_FIRST_PORT: Final = 18_000
_LAST_PORT: Final = 19_000
_GIVEN: Final[set[int]] = set()
_OK: Final = 200
# The image's script waits so long between the end of what runs and the start of what is new.
_ORIGINAL_PAUSE_S: Final = 5.0
_FIRST_CLASS: Final = re.compile(rb'"class"\s*:\s*"([^"]*)"')


def low_port() -> int:
    """Return a free port that multi-model-server takes: it knows none above 32767."""
    for port in range(_FIRST_PORT, _LAST_PORT):
        with socket.socket() as tried, contextlib.suppress(OSError):
            tried.bind(("127.0.0.1", port))
            if port not in _GIVEN:
                _GIVEN.add(port)
                return port
    raise RuntimeError(f"no port from {_FIRST_PORT} to {_LAST_PORT} is free")


@dataclass(frozen=True)
class Job:
    """What a peer is to serve: an archive under a name, with so many workers, in a directory."""

    name: str
    archive: Path
    picture: bytes
    workers: int
    directory: Path
    found: Programs


@dataclass
class Peer(ABC):
    """One server; ``ready_s`` are the seconds from its start to its first answer."""

    job: Job
    port: int = field(default_factory=low_port)
    ready_s: float = 0.0
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    name = ""
    engine = "mxnet"
    models = ZOO
    update_is = ""

    @abstractmethod
    def prepare(self) -> None:
        """Install it, and make of the archive what it serves."""

    @abstractmethod
    def launch(self) -> None:
        """Start its processes."""

    @property
    @abstractmethod
    def path(self) -> str:
        """The path of a prediction."""

    def update(self) -> None:
        """Update the model as documented (``update_is``); return when it answers again."""
        self.stop()
        self.launch()
        self.wait()

    def start(self) -> None:
        """Start it, and wait for its first answer."""
        began = time.monotonic()
        self.launch()
        self.wait()
        self.ready_s = time.monotonic() - began

    def wait(self) -> None:
        """Return when a prediction is answered.

        Raises:
            TimeoutError: none is in time; shows the ends of its logs.
        """
        began = time.monotonic()
        while not self._answers():
            if time.monotonic() - began > _READY_LIMIT_S:
                raise TimeoutError(f"{self.name} does not answer:\n{self._last_words()}")
            time.sleep(0.05)

    def wait_open(self, port: int, path: str) -> None:
        """Return when something answers on a port.

        Raises:
            TimeoutError: nothing does in time; shows the ends of its logs.
        """
        began = time.monotonic()
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                request(port, "GET", path)
                return
            if time.monotonic() - began > _READY_LIMIT_S:
                raise TimeoutError(f"{self.name} does not listen:\n{self._last_words()}")
            time.sleep(0.05)

    def _last_words(self) -> str:
        logs = sorted(self.job.directory.glob("*.log"))
        texts = {log.name: log.read_text("utf-8", "replace") for log in logs}
        return "\n".join(f"{name}: ...{text[-_SHOWN:]}" for name, text in texts.items())

    def top(self) -> str:
        """Return the class that it finds likeliest."""
        _status, body = self.ask()
        match = _FIRST_CLASS.search(body)
        return match[1].decode() if match else body[:200].decode("utf-8", "replace")

    def ask(self) -> tuple[int, bytes]:
        """Return the status and body of one prediction."""
        body, kind = multipart({"data": ("picture.jpg", "image/jpeg", self.job.picture)})
        return request(self.port, "POST", self.path, body, {"Content-Type": kind})

    def pids(self) -> list[int]:
        """Return the processes that it started."""
        return [each.pid for each in self._processes if each.poll() is None]

    def spawn(self, command: Sequence[str | Path], log: str, **environ: str) -> None:
        """Start a process that is ended with the peer."""
        with (self.job.directory / log).open("ab") as stream:
            self._processes.append(
                subprocess.Popen(
                    [str(word) for word in command],
                    cwd=self.job.directory,
                    env={**os.environ, "OMP_NUM_THREADS": "1", **environ},
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=stream,
                )
            )

    def stop(self, how: int = signal.SIGTERM) -> None:
        """End its processes and their children."""
        roots = [psutil.Process(pid) for pid in self.pids()]
        trees = [*roots, *(each for root in roots for each in root.children(recursive=True))]
        for each in trees:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.send_signal(how)
        _gone, alive = psutil.wait_procs(trees, _END_LIMIT_S)
        for each in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        for process in self._processes:
            process.wait(_END_LIMIT_S)
        self._processes.clear()

    def _answers(self) -> bool:
        try:
            return self.ask()[0] == _OK
        except (OSError, http.client.HTTPException):
            return False


def request(
    port: int, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    """Return the status and body of an answer on loopback."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ASK_LIMIT_S)
    with contextlib.closing(connection):
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read()


class Original(Peer):
    """MXNet Model Server 0.4 as its image runs it: nginx, gunicorn with gevent, Flask."""

    name = "mms 0.4"
    update_is = "`restart`: kill, wait 5 s, start"

    def prepare(self) -> None:
        self._venv = environments.original()
        self._socket = self.job.directory / "mms_app.sock"
        root, place = self.job.found.root, self.job.directory
        # The server block of its image's configuration, on a port of loopback.
        (place / "nginx.conf").write_text(
            f"daemon off; worker_processes auto; pid {place}/nginx.pid;\n"
            f"user {pwd.getpwuid(os.getuid()).pw_name};\n"
            f"error_log {place}/nginx-error.log;\nevents {{ worker_connections 768; }}\n"
            f"http {{ sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_timeout 65; gzip on;\n"
            f"include {root}/etc/nginx/mime.types; access_log {place}/nginx-access.log;\n"
            f"client_body_temp_path {place}/body; proxy_temp_path {place}/proxy;\n"
            f"fastcgi_temp_path {place}/fastcgi; uwsgi_temp_path {place}/uwsgi;\n"
            f"scgi_temp_path {place}/scgi;\n"
            f"server {{ listen 127.0.0.1:{self.port};\n"
            f"location / {{ proxy_pass http://unix:{self._socket}; }} }} }}\n"
        )

    def launch(self) -> None:
        place = self.job.directory
        archive = shutil.copy(self.job.archive, place / f"{self.job.name}.model")
        # Once, as its image's script does: workers that unpack side by side meet half a model.
        self._once([self._venv / "bin/python", "-c", _UNPACK, f"{self.job.name}={archive}"])
        nginx = [self.job.found.nginx, "-e", place / "nginx.log", "-c", place / "nginx.conf"]
        self.spawn(nginx, "nginx-out.log")
        self.spawn(
            [
                self._venv / "bin/gunicorn",
                f"--bind=unix:{self._socket}",
                f"--workers={self.job.workers}",
                "--worker-class=gevent",
                "--limit-request-line=0",
                "glue",
            ],
            "gunicorn.log",
            COMPAT_MODELS=f"{self.job.name}={archive}",
            PYTHONPATH=str(record.HERE / "python2"),
        )

    def _once(self, command: Sequence[str | Path]) -> None:
        words = [str(word) for word in command]
        place = self.job.directory
        subprocess.run(words, cwd=place, check=True, capture_output=True, timeout=_READY_LIMIT_S)

    @property
    def path(self) -> str:
        return f"/{self.job.name}/predict"

    def update(self) -> None:
        self.stop(signal.SIGKILL)
        time.sleep(_ORIGINAL_PAUSE_S)
        self.launch()
        self.wait()


class MultiModelServer(Peer):
    """multi-model-server 1.1.11, one request at a time: its own default, and its fastest here."""

    name = "multi-model-server 1.1.11"
    update_is = "DELETE and POST of the model in the management API: it has no versions"
    batch, delay_ms = 1, 0

    def prepare(self) -> None:
        directory = ROOT / "build/bench/peers/multi-model-server"
        python = environments.interpreter("3.8")
        self._venv = environments.made(directory, python, MULTI_MODEL_SERVER)
        self._management = low_port()
        place, source = self.job.directory, self.job.directory / "source"
        (place / "store").mkdir()
        _unpacked(self.job.archive, source)
        shutil.copy(HERE / "apps/multi_model_handler.py", source)
        command = [self._venv / "bin/model-archiver", "--model-name", "model", "--force"]
        command += ["--model-path", source, "--handler", "multi_model_handler:handle"]
        command += ["--export-path", place / "store"]
        subprocess.run(command, check=True, capture_output=True, timeout=_READY_LIMIT_S)
        (place / "config.properties").write_text(
            f"inference_address=http://127.0.0.1:{self.port}\n"
            f"management_address=http://127.0.0.1:{self._management}\n"
            f"model_store={place}/store\njob_queue_size=1000\nload_models=NONE\n"
        )

    def launch(self) -> None:
        place = self.job.directory
        command = [self._venv / "bin/multi-model-server", "--start", "--foreground"]
        command += ["--mms-config", place / "config.properties", "--model-store", place / "store"]
        path = f"{self._venv}/bin:{os.environ['PATH']}"
        logs = str(place / "logs")
        self.spawn(
            command, "server.log", PATH=path, LOG_LOCATION=logs, METRICS_LOCATION=logs,
            TEMP=str(place), TMPDIR=str(place),
        )  # fmt: skip
        self.wait_open(self._management, "/models")
        self._register()

    def _register(self) -> None:
        words = {
            "url": "model.mar",
            "model_name": self.job.name.replace(".", "_"),
            "batch_size": self.batch,
            "max_batch_delay": self.delay_ms,
            "initial_workers": self.job.workers,
            "synchronous": "true",
        }
        query = "&".join(f"{name}={value}" for name, value in words.items())
        status, body = request(self._management, "POST", f"/models?{query}")
        if status != _OK:
            raise RuntimeError(f"{self.name} refuses the model: {body!r}")

    @property
    def path(self) -> str:
        return f"/predictions/{self.job.name.replace('.', '_')}"

    def update(self) -> None:
        request(self._management, "DELETE", f"/models/{self.job.name.replace('.', '_')}")
        self._register()
        self.wait()


class MultiModelServerBatches(MultiModelServer):
    """The same with batches, as its documentation has them."""

    name = "multi-model-server 1.1.11, batch 8 / 10 ms"
    batch, delay_ms = 8, 10


class LitServe(Peer):
    """LitServe with a worker per core."""

    name = "litserve 0.2.19"
    update_is = "restart: it has no other"

    def prepare(self) -> None:
        directory = ROOT / "build/bench/peers/litserve"
        self._venv = environments.made(directory, environments.interpreter("3.11"), LITSERVE)
        _unpacked(self.job.archive, self.job.directory / "source")

    def launch(self) -> None:
        command = [self._venv / "bin/python", HERE / "apps/litserve_app.py"]
        command += [self.job.directory / "source", str(self.port), str(self.job.workers)]
        self.spawn(command, "server.log")

    @property
    def path(self) -> str:
        return "/predict"


class TorchServe(Peer):
    """TorchServe 0.12 with a ResNet-18 of the same shape, traced and frozen, in batches."""

    name = "torchserve 0.12.0, batch 8 / 10 ms"
    engine = "torch"
    models = ("resnet18_v1",)
    update_is = "register a version, make it the default, DELETE the old one"
    _batch = "batch_size=8&max_batch_delay=10"

    def prepare(self) -> None:
        directory = ROOT / "build/bench/peers/torchserve"
        self._venv = environments.made(directory, environments.interpreter("3.11"), TORCHSERVE)
        self._management, metrics = low_port(), low_port()
        grpc = low_port(), low_port()
        place = self.job.directory
        (place / "store").mkdir()
        network = [self._venv / "bin/python", HERE / "apps/torch_network.py", place / "network.pt"]
        subprocess.run(network, check=True, capture_output=True, timeout=_READY_LIMIT_S)
        for version in ("1.0", "2.0"):
            command = [self._venv / "bin/torch-model-archiver", "--model-name", f"model-{version}"]
            command += ["--version", version, "--handler", HERE / "apps/torch_handler.py"]
            command += ["--extra-files", place / "network.pt", "--export-path", place / "store"]
            subprocess.run(command, check=True, capture_output=True, timeout=_READY_LIMIT_S)
        (place / "config.properties").write_text(
            f"inference_address=http://127.0.0.1:{self.port}\n"
            f"management_address=http://127.0.0.1:{self._management}\n"
            f"metrics_address=http://127.0.0.1:{metrics}\n"
            f"grpc_inference_port={grpc[0]}\ngrpc_management_port={grpc[1]}\n"
            f"grpc_inference_address=127.0.0.1\ngrpc_management_address=127.0.0.1\n"
            f"model_store={place}/store\njob_queue_size=1000\n"
            "disable_token_authorization=true\nenable_model_api=true\n"
        )

    def launch(self) -> None:
        place, logs = self.job.directory, str(self.job.directory / "logs")
        command = [self._venv / "bin/torchserve", "--start", "--foreground", "--ncs"]
        command += ["--disable-token-auth", "--enable-model-api"]
        command += ["--ts-config", place / "config.properties", "--model-store", place / "store"]
        path = f"{self._venv}/bin:{os.environ['PATH']}"
        self.spawn(
            command, "server.log", PATH=path, LOG_LOCATION=logs, METRICS_LOCATION=logs,
            TEMP=str(place), TMPDIR=str(place),
        )  # fmt: skip
        self.wait_open(self._management, "/models")
        self._register("1.0")

    def _register(self, version: str) -> None:
        query = f"url=model-{version}.mar&model_name=model&{self._batch}&synchronous=true"
        self._manage("POST", f"/models?{query}&initial_workers={self.job.workers}")

    def _manage(self, method: str, path: str) -> None:
        status, body = request(self._management, method, path)
        if status != _OK:
            raise RuntimeError(f"{self.name}: {method} {path}: {body!r}")

    @property
    def path(self) -> str:
        return "/predictions/model"

    def update(self) -> None:
        self._register("2.0")
        self._manage("PUT", "/models/model/2.0/set-default")
        self._manage("DELETE", "/models/model/1.0")
        self.wait()


PEERS: Final[dict[str, type[Peer]]] = {
    "mms-0.4": Original,
    "multi-model-server": MultiModelServer,
    "multi-model-server-batches": MultiModelServerBatches,
    "litserve": LitServe,
    "torchserve": TorchServe,
}


def _unpacked(archive: Path, directory: Path) -> None:
    """Unpack an archive of our own making."""
    directory.mkdir()
    with zipfile.ZipFile(archive) as members:
        for name in members.namelist():
            if name == "MANIFEST.json" or name.endswith(".py"):
                continue
            (directory / Path(name).name).write_bytes(members.read(name))
