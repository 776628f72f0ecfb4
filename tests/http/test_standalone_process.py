"""Tests of start and stop of the standalone server, as at a terminal."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.fixtures.servers import BIN, Server, standalone, until


def run(*words: str, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / "mxnet-model-server"), *words],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, "TMPDIR": str(directory)},
        cwd=directory,
    )


def test_a_port_in_use_is_an_error(
    server: Server, archives: dict[str, Path], tmp_path: Path
) -> None:
    done = run("--models", f"pair={archives['pair']}", f"--port={server.place}", directory=tmp_path)
    assert done.returncode == 1
    address = f"127.0.0.1:{server.place}"
    assert f"Failed to start model serving host: {address}: Address already in use" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == [
        "mms_app.log"
    ]


def test_the_log_of_a_start_is_that_of_0_4(server: Server) -> None:
    lines = server.log.read_text().splitlines()
    texts = [
        "Initialized model serving.",
        "Adding endpoint: colors_predict to Flask",
        "Service started successfully.",
        f"Service description endpoint: 127.0.0.1:{server.place}/api-description",
        f"Service health endpoint: 127.0.0.1:{server.place}/ping",
    ]
    numbers = [next(n for n, line in enumerate(lines) if text in line) for text in texts]
    assert numbers == sorted(numbers)


def test_workers_share_a_port_and_a_stop_leaves_no_files(
    archives: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    with standalone(tmp_path, {"scripted": archives["scripted"]}, "--workers=2") as running:
        until(lambda: len(running.workers()) == 2)
        victim = running.workers()[0]
        assert len(list(scratch.glob("*/store/*"))) == 1
        os.kill(victim, signal.SIGKILL)
        until(lambda: victim not in running.workers() and len(running.workers()) == 2, 2)
        assert running.predict("scripted", {"order": b"[[0]]"}).status == 200
        # The end of a worker must not remove files that the others still need.
        os.kill(running.workers()[0], signal.SIGTERM)
        until(lambda: len(running.workers()) == 2, 5)
        assert len(list(scratch.glob("*/store/*"))) == 1
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(10) == 0
    assert [path for path in scratch.iterdir() if path.name.startswith("mxnet-model")] == []
