"""A web server and a fetcher."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.web_server import Bench, Web, served


@pytest.fixture
def web() -> Iterator[Web]:
    with served() as state:
        yield state


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "fetched")
