"""``mms keys``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mms_server.cli import main


def test_a_new_key_is_shown_once_with_its_digest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["keys", "--new", "shop", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    file = tmp_path / "keys"
    file.write_text(f"{made['sha256']} {made['name']}\n")
    assert main.main(["keys", "--file", str(file)]) == 0
    assert capsys.readouterr().out == f"shop: {made['sha256']}\n"
    file.write_text(f"{made['key']} shop\n")
    assert main.main(["keys", "--file", str(file)]) == 2
    assert main.main(["keys", "--new", "a b"]) == 2
