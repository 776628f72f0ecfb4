"""``mms`` and ``mms-fleet`` on a fake host."""

from __future__ import annotations

from pathlib import Path

import pytest

from mms_server.fleet.shared_paths import Share
from tests.fixtures.command_line import FleetCommand, MmsCommand
from tests.fixtures.fake_host import FakeHost


@pytest.fixture
def mms(
    fake: FakeHost, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> MmsCommand:
    return MmsCommand(fake, capsys, monkeypatch)


@pytest.fixture
def share(tmp_path: Path) -> Share:
    return Share(tmp_path / "share")


@pytest.fixture
def mms_fleet(
    fake: FakeHost,
    share: Share,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> FleetCommand:
    return FleetCommand(fake, share, capsys, monkeypatch)
