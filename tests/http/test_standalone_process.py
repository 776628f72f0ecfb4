"""The standalone server's start and end, as somebody at a terminal sees them."""

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


def test_a_port_in_use(server: Server, archives: dict[str, Path], tmp_path: Path) -> None:
    done = run("--models", f"pair={archives['pair']}", f"--port={server.place}", directory=tmp_path)
    assert done.returncode == 1
    place = f"127.0.0.1:{server.place}"
    assert f"Failed to start model serving host: {place}: Address already in use" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == [
        "mms_app.log"
    ]


def test_the_log_of_a_start(server: Server) -> None:
    lines = server.log.read_text().splitlines()
    wanted = [
        "Initialized model serving.",
        "Adding endpoint: colors_predict to Flask",
        "Service started successfully.",
        f"Service description endpoint: 127.0.0.1:{server.place}/api-description",
        f"Service health endpoint: 127.0.0.1:{server.place}/ping",
    ]
    places = [next(n for n, line in enumerate(lines) if text in line) for text in wanted]
    assert places == sorted(places)


def test_workers_share_a_port_and_an_end_leaves_nothing(
    archives: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    with standalone(tmp_path, {"odd": archives["odd"]}, "--workers=2") as running:
        until(lambda: len(running.workers()) == 2)
        victim = running.workers()[0]
        assert len(list(scratch.glob("*/store/*"))) == 1
        os.kill(victim, signal.SIGKILL)
        until(lambda: victim not in running.workers() and len(running.workers()) == 2, 2)
        assert running.predict("odd", {"order": b"[[0]]"}).status == 200
        # The worker that was made last must not remove what the others still need.
        os.kill(running.workers()[0], signal.SIGTERM)
        until(lambda: len(running.workers()) == 2, 5)
        assert len(list(scratch.glob("*/store/*"))) == 1
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(10) == 0
    assert [path for path in scratch.iterdir() if path.name.startswith("mxnet-model")] == []
