"""The start of a model's release as on a host, and the wait until it answers."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mms_server.archives import golden_samples
from mms_server.archives.golden_samples import Sample
from mms_server.host.release import Release
from mms_server.inference.model_loader import load_model
from tests.bench.load import OK
from tests.fixtures.servers import Server, release_server, until

START_LIMIT_S: Final = 120.0


@contextlib.contextmanager
def started(
    place: Path, release: Release, body: bytes, kind: str
) -> Iterator[tuple[Server, float]]:
    """Run a release's server; yield it and the seconds until its first answer to a prediction.

    Raises:
        RuntimeError: the server has ended, or the answer is an error.
    """
    began = time.monotonic()
    with release_server(place, release, wait=False) as server:
        until(lambda: is_ready(server, release.model), START_LIMIT_S)
        answer = server.request("POST", f"/{release.model}/predict", body, {"Content-Type": kind})
        if answer.status != OK:
            raise RuntimeError(f"the release answers {answer.status}: {answer.body[:200]!r}")
        yield server, time.monotonic() - began


def put_sample(unpacked: Path, picture: bytes) -> None:
    """Add the picture to the archive as its golden sample, with which engines are calibrated."""
    service = load_model(unpacked.name, unpacked).service
    asked = Sample((picture,))
    told = dataclasses.replace(asked, expected=golden_samples.answer_of(service, asked))
    for name, content in golden_samples.encode([told]).items():
        (unpacked / name).write_bytes(content)


def is_ready(server: Server, model: str) -> bool:
    """Return whether a release answers.

    Raises:
        RuntimeError: the server has ended.
    """
    # A connection to the socket of an ended release would wait for ever.
    if server.process.poll() is not None:
        raise RuntimeError(f"the release does not start:\n{server.log.read_text('utf-8')}")
    try:
        return server.request("GET", f"/{model}/ping", timeout=1).status == 200
    except OSError:
        return False
