"""A release that does not answer its golden samples, or computes no numbers, is never ready."""

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

# It answers twice the sum of its two inputs.
INPUTS = ([[1, 2, 3]], [[1, 1, 1]])
RIGHT = ["[[4.0, 6.0, 8.0]]"]
WRONG = ["[[4.0, 6.0, 8.5]]"]


@pytest.fixture
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # A socket's path must be short.
    return tmp_path_factory.mktemp("g")


def put(directory: Path, *samples: Sample) -> None:
    directory.mkdir(exist_ok=True)
    for name, content in golden_samples.encode(samples).items():
        (directory / name).write_bytes(content)


def beside(root: Path, release: Release, *samples: Sample) -> Release:
    """Return the release with samples that lay beside its archive."""
    put(root / "var/lib/mms/store" / "beside", *samples)
    changed = dataclasses.replace(release, golden="beside")
    write_atomically(Layout.under(root).release_file(changed.id), changed.to_json())
    return changed


def entry(root: Path, release: Release) -> Path:
    return root / "var/lib/mms/store" / release.archive_sha256


def messages(told: socket.socket) -> Iterator[bytes]:
    """Yield what was told: a release that failed before also says for how long it waits."""
    with contextlib.suppress(BlockingIOError):
        while True:
            yield told.recv(4096)


def failure(root: Path, release: Release) -> StartFailure:
    """Return what a release says that does not start; it must not say that it is ready."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        (root / "notify.sock").unlink(missing_ok=True)
        told.bind(str(root / "notify.sock"))
        told.setblocking(False)
        with release_server(root, release, wait=False, notify=root / "notify.sock") as server:
            assert server.process.wait(60) != 0
        assert not any(b"READY=1" in message for message in messages(told))
    text = server.log.read_text()
    assert "Traceback" not in text
    found = start_failure.find_last(text)
    assert found is not None, text
    return found


def test_right_samples_make_it_ready(archives: dict[str, Path], root: Path) -> None:
    release = write_release(root, archives["pair"])
    put(entry(root, release), Sample(INPUTS, RIGHT))
    with release_server(root, release) as server:
        answer = server.predict("pair", {"left": b"[[1, 2, 3]]", "right": b"[[1, 1, 1]]"})
        assert (answer.status, answer.json["prediction"]) == (200, RIGHT)


def test_a_wrong_sample_of_the_archive(archives: dict[str, Path], root: Path) -> None:
    release = write_release(root, archives["pair"])
    put(entry(root, release), Sample(INPUTS, RIGHT), Sample(INPUTS, WRONG))
    found = failure(root, release)
    assert found.step == "golden check"
    assert found.cause == "golden sample 2: the answer[0][0][2] is 8.0; expected is 8.5."
    assert "check model, parameters and service class" in found.fix


def test_samples_beside_the_archive_count_instead_of_its_own(
    archives: dict[str, Path], root: Path
) -> None:
    release = write_release(root, archives["pair"])
    put(entry(root, release), Sample(INPUTS, WRONG))
    wide = beside(root, release, Sample(INPUTS, WRONG, Tolerance(0.1, 0), top1=True))
    with release_server(root, wide) as server:
        assert server.request("GET", "/pair/ping").status == 200
    found = failure(root, beside(root, release, Sample(INPUTS, ["[[9.0, 6.0, 8.0]]"])))
    assert found.cause.startswith("golden sample 1: the answer[0][0][0] is 4.0; expected is 9.0")


def test_a_model_that_computes_no_numbers(archives: dict[str, Path], root: Path) -> None:
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


def test_samples_that_are_damaged(archives: dict[str, Path], root: Path) -> None:
    release = write_release(root, archives["pair"])
    (entry(root, release) / golden_samples.FILE_NAME).write_text(json.dumps({"format": 7}))
    assert "its format is not 1" in failure(root, release).cause


def test_a_release_that_is_held_loads_nothing(archives: dict[str, Path], root: Path) -> None:
    release, layout = write_release(root, archives["pair"]), Layout.under(root)
    start_barrier.place(layout, release.id, time.monotonic() + 60)
    with release_server(root, release, wait=False) as server, server.connect() as waiting:
        waiting.sendall(b"GET /pair/ping HTTP/1.0\r\n\r\n")
        time.sleep(2)
        # Its command line is still the launcher's: it has not become gunicorn.
        command = Path(f"/proc/{server.process.pid}/cmdline").read_bytes()
        assert b"mms-release-server" in command
        start_barrier.lift(layout, release.id)
        assert waiting.recv(4096).startswith(b"HTTP/1.0 200")
