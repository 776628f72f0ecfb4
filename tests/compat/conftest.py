"""Fixtures: one server with all archives that the original's exporter wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compat.rows import Ground, Recording
from tests.compat.table import MODELS
from tests.fixtures import servers

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def recordings() -> dict[str, Recording]:
    files = (HERE / "recordings").glob("*.json")
    return {file.stem: json.loads(file.read_text()) for file in files}


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    archives = {name: HERE / "archives" / f"{name}.model" for name in MODELS}
    with servers.standalone(tmp_path_factory.mktemp("standalone"), archives) as running:
        yield running


@pytest.fixture
def ground(served: servers.Server, recordings: dict[str, Recording], tmp_path: Path) -> Ground:
    archives = {name: HERE / "archives" / f"{name}.model" for name in MODELS}
    return Ground(served, recordings, archives, tmp_path)
