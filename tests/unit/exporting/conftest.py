"""Model directories to export."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import tiny


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tiny.write(tmp_path / "source")
