"""The clients of `mms tune` on the socket of a real release."""

from __future__ import annotations

from pathlib import Path

import pytest

from mms_server.tuning.load_generator import Question, window
from tests.fixtures import models
from tests.fixtures.servers import multipart, release_server, write_release


@pytest.fixture
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # A socket's path must be short.
    return tmp_path_factory.mktemp("t")


def question(path: str, data: bytes) -> Question:
    return Question(path, *multipart({"data": ("x.jpg", "image/jpeg", data)}))


def test_they_count_answers_and_failures(archives: dict[str, Path], root: Path) -> None:
    release = write_release(root, archives["colors"])
    good = question("/colors/predict", models.picture())
    with release_server(root, release) as server:
        assert isinstance(server.place, Path)
        seen = window(server.place, [good], 4, 1.0)
        assert seen.failed == 0
        assert seen.requests_per_s > 10
        assert 0 < seen.p50_ms <= seen.p99_ms
        bad = question("/colors/predict", b"no picture")
        mixed = window(server.place, [good, bad], 2, 1.0)
        assert mixed.failed
        assert mixed.requests_per_s > 0
    gone = window(server.place, [good], 2, 0.2)
    assert gone.failed
    assert gone.requests_per_s == 0
