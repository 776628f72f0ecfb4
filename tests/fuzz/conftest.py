"""Fixtures and Hypothesis profiles of the fuzz tests.

``ci`` runs the same examples every time; ``long`` runs many examples from a seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.fixtures import models, servers

_COMMON = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}
settings.register_profile("ci", derandomize=True, max_examples=100, database=None, **_COMMON)
settings.register_profile("long", max_examples=5000, print_blob=True, **_COMMON)
settings.load_profile("ci")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    """A server with two models: one takes an image, the other two tensors."""
    directory = tmp_path_factory.mktemp("fuzz")
    archives = {make.__name__: make(directory) for make in (models.colors, models.pair)}
    with servers.standalone(directory, archives) as running:
        yield running


@pytest.fixture(autouse=True)
def _same_workers(request: pytest.FixtureRequest) -> Iterator[None]:
    """If a test uses the server, its workers must be the same and answer afterwards."""
    if "server" not in request.fixturenames:
        yield
        return
    running: servers.Server = request.getfixturevalue("server")
    before = running.workers()
    yield
    assert running.workers() == before
    picture = ("a.jpg", "image/jpeg", models.picture())
    assert running.predict("colors", {"data": picture}).status == 200


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory; tests check that nothing is written beside it."""
    directory = tmp_path / "place"
    directory.mkdir()
    return directory
