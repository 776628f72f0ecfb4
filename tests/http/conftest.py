"""Fixtures of the HTTP tests: archives, and a standalone server for the whole test run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures import models, servers


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp("archives")
    makers = (models.colors, models.pair, models.scripted)
    return {maker.__name__: maker(directory) for maker in makers}


@pytest.fixture(scope="session")
def server(
    tmp_path_factory: pytest.TempPathFactory, archives: dict[str, Path]
) -> Iterator[servers.Server]:
    """The standalone server with all archives."""
    with servers.standalone(tmp_path_factory.mktemp("standalone"), archives) as running:
        yield running


@pytest.fixture(scope="session")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root directory of a host, for releases."""
    # A short name, because the path of a Unix socket has at most 107 bytes.
    return tmp_path_factory.mktemp("host")
