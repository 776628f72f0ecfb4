"""A host without systemd, for what decides."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures import fake_host


@pytest.fixture
def fake(tmp_path: Path) -> fake_host.FakeHost:
    return fake_host.FakeHost(tmp_path)
