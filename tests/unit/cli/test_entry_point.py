"""The command ``mms`` yields before it reads anything, if it is to change the host."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mms_server.cli import entry_point
from mms_server.host import background_scope


def test_nothing_large_is_read_before_it_yields() -> None:
    code = "import sys, mms_server.cli.entry_point as c; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = done.stdout.split()
    assert "mms_server.host.background_scope" in loaded
    assert not {"mms_server.cli.main", "boto3", "gevent", "numpy", "gunicorn"}.intersection(loaded)


def test_a_command_that_changes_the_host_yields_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[bool] = []

    def enter_background_scope() -> str:
        asked.append(True)
        return "this command runs with normal CPU weight: no bus"

    monkeypatch.setattr(background_scope, "enter_background_scope", enter_background_scope)
    for words, yields in ((["why"], 0), (["rollback"], 1), (["gc"], 2)):
        with pytest.raises(SystemExit):
            entry_point.main([*words, "--help"])
        assert len(asked) == yields, words
    assert "mms: this command runs with normal CPU weight: no bus\n" in capsys.readouterr().err
