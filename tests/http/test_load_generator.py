"""Tests of the load generator of `mms tune` on the socket of a real release server."""

from __future__ import annotations

from pathlib import Path

import pytest

from mms_server.tuning.load_generator import Request, measure_window
from tests.fixtures import models
from tests.fixtures.servers import multipart, release_server, write_release


@pytest.fixture
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # The path of a socket must be short.
    return tmp_path_factory.mktemp("t")


def request(path: str, data: bytes) -> Request:
    return Request(path, *multipart({"data": ("x.jpg", "image/jpeg", data)}))


def test_answers_and_failures_are_counted(archives: dict[str, Path], root: Path) -> None:
    release = write_release(root, archives["colors"])
    good = request("/colors/predict", models.picture())
    with release_server(root, release) as server:
        assert isinstance(server.place, Path)
        window = measure_window(server.place, [good], 4, 1.0)
        assert window.failed == 0
        assert window.requests_per_s > 10
        assert 0 < window.p50_ms <= window.p99_ms
        bad = request("/colors/predict", b"no picture")
        mixed = measure_window(server.place, [good, bad], 2, 1.0)
        assert mixed.failed
        assert mixed.requests_per_s > 0
    gone = measure_window(server.place, [good], 2, 0.2)
    assert gone.failed
    assert gone.requests_per_s == 0
