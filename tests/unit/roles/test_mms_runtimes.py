from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.modules import load

runtimes: Any = load("mms_runtime", "mms_runtimes")


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A host with runtimes v1 (oldest) to v5; v5 is current, a release uses v1."""
    for age, name in enumerate(["v1", "v2", "v3", "v4", "v5"]):
        directory = tmp_path / "releases" / name
        directory.mkdir(parents=True)
        (directory / ".complete").touch()
        os.utime(directory, (1000 + age, 1000 + age))
    (tmp_path / "current").symlink_to("releases/v5")
    release = tmp_path / "models" / "digits.0a0b0c0d"
    release.mkdir(parents=True)
    text = json.dumps({"runtime": str(tmp_path / "releases" / "v1")})
    (release / "release.json").write_text(text)
    return tmp_path


def names(host: Path, keep: int) -> list[str]:
    used = runtimes.used_runtimes(host / "current", host / "models")
    return [path.name for path in runtimes.removable(host / "releases", used, keep)]


def test_runtimes_in_use_stay(host: Path) -> None:
    assert names(host, 0) == ["v4", "v3", "v2"]


def test_newest_unused_are_kept(host: Path) -> None:
    assert names(host, 2) == ["v2"]


def test_enough_room_removes_nothing(host: Path) -> None:
    assert names(host, 9) == []


def test_link_counts_as_its_target(host: Path) -> None:
    (host / "current").unlink()
    (host / "current").symlink_to("releases/v2")
    assert "v2" not in names(host, 0)


def test_unreadable_release_stops_the_removal(host: Path) -> None:
    (host / "models" / "digits.0a0b0c0d" / "release.json").write_text("{")
    with pytest.raises(ValueError, match="the runtime it uses is unknown"):
        names(host, 0)


def test_bare_host_has_nothing_to_remove(tmp_path: Path) -> None:
    assert names(tmp_path, 0) == []


def test_removal_takes_the_whole_directory(host: Path) -> None:
    runtimes.remove(host / "releases" / "v2")
    assert not (host / "releases" / "v2").exists()
