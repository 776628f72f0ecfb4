"""The base class of peers: their processes, and a prediction request."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from tests.bench.edge import Programs
from tests.bench.load import FIRST_CLASS, OK, Target
from tests.bench.models import ZOO
from tests.fixtures.servers import multipart

APPS: Final = Path(__file__).parent / "apps"
_READY_LIMIT_S: Final = 180.0
_ASK_LIMIT_S: Final = 60.0
_END_LIMIT_S: Final = 20.0
_SHOWN: Final = 1500
_FIRST_PORT: Final = 18_000
_LAST_PORT: Final = 19_000
_GIVEN: Final[set[int]] = set()


def low_port() -> int:
    """Return a free port up to 32767: multi-model-server accepts no higher one."""
    for port in range(_FIRST_PORT, _LAST_PORT):
        with socket.socket() as tried, contextlib.suppress(OSError):
            tried.bind(("127.0.0.1", port))
            if port not in _GIVEN:
                _GIVEN.add(port)
                return port
    raise RuntimeError(f"no port from {_FIRST_PORT} to {_LAST_PORT} is free")


@dataclass(frozen=True)
class Job:
    """The task of a peer: an archive to serve under a name, the workers, and a directory."""

    name: str
    archive: Path
    picture: bytes
    workers: int
    directory: Path
    found: Programs


@dataclass
class Peer(ABC):
    """One peer; ``ready_s`` are the seconds from its start to its first answer."""

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
        """Install the peer, and convert the archive to its format."""

    @abstractmethod
    def launch(self) -> None:
        """Start its processes."""

    @property
    @abstractmethod
    def path(self) -> str:
        """The URL path of a prediction."""

    def update(self) -> None:
        """Update the model as documented (``update_is``); return when it answers again."""
        self.stop()
        self.launch()
        self.wait()

    def start(self) -> None:
        """Start the peer, and wait for its first answer."""
        began = time.monotonic()
        self.launch()
        self.wait()
        self.ready_s = time.monotonic() - began

    def wait(self) -> None:
        """Return when a prediction is answered.

        Raises:
            TimeoutError: there is none in time; the error has the ends of the peer's logs.
        """
        self.until(lambda: self.ask()[0] == OK, "answer")

    def until(self, holds: Callable[[], object], what: str) -> None:
        """Return when ``holds()`` is true; connection errors count as false.

        Raises:
            TimeoutError: it is not in time; the error has the ends of the peer's logs.
        """
        began = time.monotonic()
        while time.monotonic() - began < _READY_LIMIT_S:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if holds():
                    return
            time.sleep(0.05)
        raise TimeoutError(f"{self.name} does not {what}:\n{self._last_words()}")

    def run(self, *command: str | Path) -> None:
        """Run a command to its end, in the peer's directory.

        Raises:
            CalledProcessError: the command failed.
        """
        words = [str(word) for word in command]
        place = self.job.directory
        subprocess.run(words, cwd=place, check=True, capture_output=True, timeout=_READY_LIMIT_S)

    def _last_words(self) -> str:
        logs = sorted(self.job.directory.glob("*.log"))
        texts = {log.name: log.read_text("utf-8", "replace") for log in logs}
        return "\n".join(f"{name}: ...{text[-_SHOWN:]}" for name, text in texts.items())

    def top(self) -> str:
        """Return the most probable class in the peer's answer."""
        _status, body = self.ask()
        match = FIRST_CLASS.search(body)
        return match[1].decode() if match else body[:200].decode("utf-8", "replace")

    def ask(self) -> tuple[int, bytes]:
        """Return the status and body of one prediction."""
        one = self.target("")
        return request(self.port, "POST", self.path, one.body, {"Content-Type": one.content_type})

    def target(self, top: str) -> Target:
        """Return the prediction to repeat; ``top`` is the class of a right answer."""
        body, kind = multipart({"data": ("picture.jpg", "image/jpeg", self.job.picture)})
        return Target(self.port, self.path, body, kind, top)

    def pids(self) -> list[int]:
        """Return the process ids of the processes that the peer started."""
        return [each.pid for each in self._processes if each.poll() is None]

    def spawn(self, command: Sequence[str | Path], log: str, **environ: str) -> None:
        """Start a process that ends with the peer."""
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
        """End the peer's processes and their children."""
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


def request(
    port: int, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    """Send a request to loopback; return the status and the body of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ASK_LIMIT_S)
    with contextlib.closing(connection):
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read()
