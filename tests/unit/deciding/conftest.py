"""A host without systemd, for what decides."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import fakehost


@pytest.fixture
def fake(tmp_path: Path) -> fakehost.FakeHost:
    return fakehost.FakeHost(tmp_path)
