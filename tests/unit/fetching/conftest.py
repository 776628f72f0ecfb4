"""A web server and a fetcher."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from webserver import Bench, Web, served


@pytest.fixture
def web() -> Iterator[Web]:
    with served() as state:
        yield state


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "fetched")
