"""``mms validate``."""

from __future__ import annotations

from pathlib import Path

from tests.fixtures.command_line import MmsCommand
from tests.fixtures.fake_host import FakeHost, write_archive


def test_validate_on_a_controller(fake: FakeHost, mms: MmsCommand, tmp_path: Path) -> None:
    conf = fake.write_conf({}, "m=/efs/models/m.model\n[Gunicorn Arguments]\n--bind\n:9000\n")
    archives = tmp_path / "archives"
    write_archive(archives / "m.model", "1")
    words = ("validate", "--conf", str(conf), "--archives", str(archives))
    code, answer = mms.json(*words)
    assert code == 0
    assert answer["models"][0]["archive"] == str(archives / "m.model")
    assert answer["bind"] == ":9000"
    assert "is good" in mms.run(*words)[1]
    assert not fake.layout.state.exists()
