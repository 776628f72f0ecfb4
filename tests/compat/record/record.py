"""The recorder of the answers of MXNet Model Server 0.4: ``python -m tests.compat.record.record``.

It needs the virtual environment that ``setup.sh`` makes. It runs one server per model, because 0.4
uses the service class of the first model for all models (compatibility.md, 14). Each model has two
servers: the original's standalone server, and gunicorn with gevent as in its image. If a request
kills the server, the recording says so.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.compat.record import commands
from tests.compat.request_table import MODELS, REQUESTS, Request
from tests.ports import free_port

HERE = Path(__file__).parent
ARCHIVES = HERE.parent / "archives"
RECORDINGS = HERE.parent / "recordings"
START_S = 60.0
# Headers with times.
_LEFT_OUT = {"date"}


class Original:
    """The original's programs and a directory to run them in."""

    def __init__(self, venv: Path, scratch: Path) -> None:
        self.bin = venv / "bin"
        self.scratch = scratch
        self.environ = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE / "python2")}

    @contextlib.contextmanager
    def serving(self, front_end: str, model: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
        """Run a server of one model; yield its port and process."""
        directory = self.scratch / front_end / model
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        archive = Path(shutil.copy(ARCHIVES / f"{model}.model", directory))
        port = free_port()
        command = [str(self.bin / "mxnet-model-server"), "--models", f"{model}={archive}"]
        command += ["--port", str(port)]
        environ = {**self.environ, "COMPAT_MODELS": f"{model}={archive}"}
        if front_end == "gunicorn":
            command = [str(self.bin / "gunicorn"), "--bind", f"127.0.0.1:{port}"]
            command += ["--workers", "1", "--worker-class", "gevent", "--limit-request-line", "0"]
            command += ["glue"]
        with (directory / "server.log").open("wb") as log:
            process = subprocess.Popen(
                command, cwd=directory, env=environ, stdout=log, stderr=log, start_new_session=True
            )
        try:
            _wait(port, process)
            yield port, process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(START_S)


def main(arguments: list[str] | None = None) -> int:
    """Write all recordings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venv", type=Path, default=Path("build/compat/original/venv"))
    parser.add_argument("--scratch", type=Path, default=Path("build/compat/run"))
    options = parser.parse_args(arguments)
    original = Original(options.venv.absolute(), options.scratch.absolute())
    for front_end in ("standalone", "gunicorn"):
        _write(front_end, _requests(original, front_end))
    _write("commands", _commands(original))
    return 0


def _commands(original: Original) -> dict[str, Any]:
    return commands.record(original.bin, original.scratch / "commands", ARCHIVES)


def _requests(original: Original, front_end: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for model in MODELS:
        waiting = [name for name, row in REQUESTS.items() if row.model == model]
        while waiting:
            with original.serving(front_end, model) as (port, process):
                for name in list(waiting):
                    found[name] = _recorded(REQUESTS[name], port, process)
                    waiting.remove(name)
                    if "died" in found[name]["answer"]:
                        break
    return {name: found[name] for name in REQUESTS}


def _recorded(row: Request, port: int, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    request = {"model": row.model, "method": row.method, "path": row.path}
    request["body_sha256"] = hashlib.sha256(row.body or b"").hexdigest()
    try:
        answer = _exchange(row, port)
    except (ConnectionError, http.client.HTTPException):
        answer = {"died": _death(process)}
    return {"request": request, "answer": answer}


def _exchange(row: Request, port: int) -> dict[str, Any]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as link:
        link.request(row.method, row.path, row.body, dict(row.headers))
        response = link.getresponse()
        headers = sorted(
            (name.lower(), value)
            for name, value in response.getheaders()
            if name.lower() not in _LEFT_OUT
        )
        text = response.read().decode()
    return {
        "status": response.status,
        "reason": response.reason,
        "headers": headers,
        "body": re.sub(rf"127\.0\.0\.1:({port}|8080)\b", "HOST:PORT", text),
    }


def _death(process: subprocess.Popen[bytes]) -> str:
    """Return how the server ended; under gunicorn only the worker ends, not the master."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        code = process.wait(3)
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return "the worker"


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"the original ended with {process.returncode}: see its server.log")
        with contextlib.suppress(OSError, http.client.HTTPException):
            _exchange(REQUESTS["ping"], port)
            return
        time.sleep(0.1)
    raise SystemExit("the original does not answer")


def _write(name: str, content: Any) -> None:
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    (RECORDINGS / f"{name}.json").write_text(text)


if __name__ == "__main__":
    sys.exit(main())
