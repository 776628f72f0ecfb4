"""``mms settings``."""

from __future__ import annotations

from pathlib import Path

from tests.fixtures.command_line import MmsCommand
from tests.fixtures.fake_host import FakeHost


def test_settings(fake: FakeHost, mms: MmsCommand, tmp_path: Path) -> None:
    code, answer = mms.json("settings")
    assert (code, answer["workers"]) == (0, 1)
    assert "workers = 1\n" in mms.run("settings")[1]
    assert "| `workers` | `1` | `0` |" in mms.run("settings", "--format", "markdown")[1]
    other = tmp_path / "other.toml"
    other.write_text("colour = 1\n")
    code, _out, err = mms.run("settings", "--file", str(other))
    assert code == 2
    assert f"{other}:1: colour is not a setting. Fix: use one of workers, " in err
    # A file that is to replace a bad one can be checked.
    (fake.layout.etc / "mms.toml").write_text("bad")
    other.write_text("workers = 2\n")
    assert mms.json("settings", "--file", str(other))[1]["workers"] == 2
    assert mms.run("status")[0] == 2
