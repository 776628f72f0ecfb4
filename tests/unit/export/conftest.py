"""Fixtures of the exporter's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures import tiny_model


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A model directory to export."""
    return tiny_model.write(tmp_path / "source")
