"""Tests of golden samples at the start of a release: a wrong answer means it is never ready."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest

from mms_server.archives import golden_samples
from mms_server.archives.comparison import Tolerance
from mms_server.archives.golden_samples import Sample
from mms_server.core.files import write_atomically
from mms_server.core.paths import Layout
from mms_server.host import start_barrier, start_failure
from mms_server.host.release import Release
from mms_server.host.start_failure import StartFailure
from tests.fixtures.servers import release_server, write_release

# The model answers twice the sum of its two inputs.
INPUTS = ([[1, 2, 3]], [[1, 1, 1]])
RIGHT = ["[[4.0, 6.0, 8.0]]"]
WRONG = ["[[4.0, 6.0, 8.5]]"]


@pytest.fixture
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # A short name, because the path of a Unix socket has at most 107 bytes.
    return tmp_path_factory.mktemp("g")


def put(directory: Path, *samples: Sample) -> None:
    directory.mkdir(exist_ok=True)
    for name, content in golden_samples.encode(samples).items():
        (directory / name).write_bytes(content)


def with_external_samples(root: Path, release: Release, *samples: Sample) -> Release:
    """Return the release with samples from beside its archive."""
    put(root / "var/lib/mms/store" / "external", *samples)
    changed = dataclasses.replace(release, golden="external")
    write_atomically(Layout.under(root).release_file(changed.id), changed.to_json())
    return changed


def entry(root: Path, release: Release) -> Path:
    return root / "var/lib/mms/store" / release.archive_sha256


def messages(notify: socket.socket) -> Iterator[bytes]:
    """Yield the messages to systemd; after earlier failures one of them announces the backoff."""
    with contextlib.suppress(BlockingIOError):
        while True:
            yield notify.recv(4096)


def failure(root: Path, release: Release) -> StartFailure:
    """Start a release that must fail; return the failure that it reports."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        (root / "notify.sock").unlink(missing_ok=True)
        notify.bind(str(root / "notify.sock"))
        notify.setblocking(False)
        with release_server(root, release, wait=False, notify=root / "notify.sock") as server:
            assert server.process.wait(60) != 0
        assert not any(b"READY=1" in message for message in messages(notify))
    text = server.log.read_text()
    assert "Traceback" not in text
    found = start_failure.find_last(text)
    assert found is not None, text
    return found


def test_a_release_with_correct_answers_gets_ready(archives: dict[str, Path], root: Path) -> None:
    release = write_release(root, archives["pair"])
    put(entry(root, release), Sample(INPUTS, RIGHT))
    with release_server(root, release) as server:
        answer = server.predict("pair", {"left": b"[[1, 2, 3]]", "right": b"[[1, 1, 1]]"})
        assert (answer.status, answer.json["prediction"]) == (200, RIGHT)


def test_a_wrong_answer_to_a_sample_of_the_archive_is_a_failure(
    archives: dict[str, Path], root: Path
) -> None:
    release = write_release(root, archives["pair"])
    put(entry(root, release), Sample(INPUTS, RIGHT), Sample(INPUTS, WRONG))
    found = failure(root, release)
    assert found.step == "golden check"
    assert found.cause == "golden sample 2: the answer[0][0][2] is 8.0; expected is 8.5."
    assert "check model, parameters and service class" in found.fix


def test_samples_beside_the_archive_replace_those_in_it(
    archives: dict[str, Path], root: Path
) -> None:
    release = write_release(root, archives["pair"])
    put(entry(root, release), Sample(INPUTS, WRONG))
    wide = with_external_samples(root, release, Sample(INPUTS, WRONG, Tolerance(0.1, 0), top1=True))
    with release_server(root, wide) as server:
        assert server.request("GET", "/pair/ping").status == 200
    found = failure(
        root, with_external_samples(root, release, Sample(INPUTS, ["[[9.0, 6.0, 8.0]]"]))
    )
    assert found.cause.startswith("golden sample 1: the answer[0][0][0] is 4.0; expected is 9.0")


def test_a_model_that_computes_nan_is_a_failure(archives: dict[str, Path], root: Path) -> None:
    release = write_release(root, archives["pair"])
    parameters = entry(root, release) / "pair-0000.params"
    parameters.unlink()
    mx.nd.save(str(parameters), {"arg:factor": mx.nd.array(np.array([[np.nan]]))})
    found = failure(root, release)
    assert found.step == "warm-up"
    assert "output 0 has a NaN or an infinite number" in found.cause
    put(entry(root, release), Sample(INPUTS, ["[[nan, nan, nan]]"]))
    found = failure(root, release)
    assert found.step == "golden check"
    assert found.cause == "golden sample 1: the answer[0] holds a NaN or an infinite number."


def test_damaged_samples_are_a_failure(archives: dict[str, Path], root: Path) -> None:
    release = write_release(root, archives["pair"])
    (entry(root, release) / golden_samples.FILE_NAME).write_text(json.dumps({"format": 7}))
    assert "its format is not 1" in failure(root, release).cause


def test_a_release_behind_the_start_barrier_loads_nothing(
    archives: dict[str, Path], root: Path
) -> None:
    release, layout = write_release(root, archives["pair"]), Layout.under(root)
    start_barrier.place(layout, release.id, time.monotonic() + 60)
    with release_server(root, release, wait=False) as server, server.connect() as waiting:
        waiting.sendall(b"GET /pair/ping HTTP/1.0\r\n\r\n")
        time.sleep(2)
        # The command line is still the launcher's, so gunicorn has not started.
        command = Path(f"/proc/{server.process.pid}/cmdline").read_bytes()
        assert b"mms-release-server" in command
        start_barrier.lift(layout, release.id)
        assert waiting.recv(4096).startswith(b"HTTP/1.0 200")
