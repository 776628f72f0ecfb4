"""The peers with a Java front end, which have a management API on another port."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mms_server.archives.extract import unpack
from tests.bench.load import OK
from tests.bench.peers import environments
from tests.bench.peers.environments import MULTI_MODEL_SERVER, TORCHSERVE
from tests.bench.peers.peer import APPS, Peer, low_port, request
from tests.fixtures.servers import ROOT


@dataclass
class JavaServer(Peer):
    """A peer with a management API on the port ``management``."""

    management: int = field(default_factory=low_port)

    def spawn_java(self, command: Sequence[str | Path], venv: Path) -> None:
        """Start the front end, and wait until its management API answers."""
        place, logs = self.job.directory, str(self.job.directory / "logs")
        self.spawn(
            command,
            "server.log",
            PATH=f"{venv}/bin:{os.environ['PATH']}",
            LOG_LOCATION=logs,
            METRICS_LOCATION=logs,
            TEMP=str(place),
            TMPDIR=str(place),
        )
        self.until(lambda: request(self.management, "GET", "/models"), "listen")

    def manage(self, method: str, path: str) -> None:
        """Send a request to the management API.

        Raises:
            RuntimeError: the server refuses it.
        """
        status, body = request(self.management, method, path)
        if status != OK:
            raise RuntimeError(f"{self.name}: {method} {path}: {body!r}")


class MultiModelServer(JavaServer):
    """multi-model-server 1.1.11, one request at a time: its default, and its fastest mode here."""

    name = "multi-model-server 1.1.11"
    update_is = "DELETE and POST of the model in the management API: it has no versions"
    batch, delay_ms = 1, 0

    def prepare(self) -> None:
        directory = ROOT / "build/bench/peers/multi-model-server"
        python = environments.interpreter("3.8")
        self._venv = environments.made(directory, python, MULTI_MODEL_SERVER)
        place, source = self.job.directory, self.job.directory / "source"
        (place / "store").mkdir()
        unpack(self.job.archive, source)
        shutil.copy(APPS / "multi_model_handler.py", source)
        command = [self._venv / "bin/model-archiver", "--model-name", "model", "--force"]
        command += ["--model-path", source, "--handler", "multi_model_handler:handle"]
        command += ["--export-path", place / "store"]
        self.run(*command)
        (place / "config.properties").write_text(
            f"inference_address=http://127.0.0.1:{self.port}\n"
            f"management_address=http://127.0.0.1:{self.management}\n"
            f"model_store={place}/store\njob_queue_size=1000\nload_models=NONE\n"
        )

    def launch(self) -> None:
        place = self.job.directory
        command = [self._venv / "bin/multi-model-server", "--start", "--foreground"]
        command += ["--mms-config", place / "config.properties", "--model-store", place / "store"]
        self.spawn_java(command, self._venv)
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
        self.manage("POST", f"/models?{query}")

    @property
    def path(self) -> str:
        return f"/predictions/{self.job.name.replace('.', '_')}"

    def update(self) -> None:
        self.manage("DELETE", f"/models/{self.job.name.replace('.', '_')}")
        self._register()
        self.wait()


class MultiModelServerBatches(MultiModelServer):
    """multi-model-server 1.1.11 with batches, as its documentation shows them."""

    name = "multi-model-server 1.1.11, batch 8 / 10 ms"
    batch, delay_ms = 8, 10


class TorchServe(JavaServer):
    """TorchServe 0.12 with a ResNet-18 of the same shape, traced and frozen, in batches."""

    name = "torchserve 0.12.0, batch 8 / 10 ms"
    engine = "torch"
    models = ("resnet18_v1",)
    update_is = "register a version, make it the default, DELETE the old one"
    _batch = "batch_size=8&max_batch_delay=10"

    def prepare(self) -> None:
        directory = ROOT / "build/bench/peers/torchserve"
        self._venv = environments.made(directory, environments.interpreter("3.11"), TORCHSERVE)
        metrics, *grpc = low_port(), low_port(), low_port()
        place = self.job.directory
        (place / "store").mkdir()
        self.run(self._venv / "bin/python", APPS / "torch_network.py", place / "network.pt")
        for version in ("1.0", "2.0"):
            command = [self._venv / "bin/torch-model-archiver", "--model-name", f"model-{version}"]
            command += ["--version", version, "--handler", APPS / "torch_handler.py"]
            command += ["--extra-files", place / "network.pt", "--export-path", place / "store"]
            self.run(*command)
        (place / "config.properties").write_text(
            f"inference_address=http://127.0.0.1:{self.port}\n"
            f"management_address=http://127.0.0.1:{self.management}\n"
            f"metrics_address=http://127.0.0.1:{metrics}\n"
            f"grpc_inference_port={grpc[0]}\ngrpc_management_port={grpc[1]}\n"
            f"grpc_inference_address=127.0.0.1\ngrpc_management_address=127.0.0.1\n"
            f"model_store={place}/store\njob_queue_size=1000\n"
            "disable_token_authorization=true\nenable_model_api=true\n"
        )

    def launch(self) -> None:
        place = self.job.directory
        command = [self._venv / "bin/torchserve", "--start", "--foreground", "--ncs"]
        command += ["--disable-token-auth", "--enable-model-api"]
        command += ["--ts-config", place / "config.properties", "--model-store", place / "store"]
        self.spawn_java(command, self._venv)
        self._register("1.0")

    def _register(self, version: str) -> None:
        query = f"url=model-{version}.mar&model_name=model&{self._batch}&synchronous=true"
        self.manage("POST", f"/models?{query}&initial_workers={self.job.workers}")

    @property
    def path(self) -> str:
        return "/predictions/model"

    def update(self) -> None:
        self._register("2.0")
        self.manage("PUT", "/models/model/2.0/set-default")
        self.manage("DELETE", "/models/model/1.0")
        self.wait()
