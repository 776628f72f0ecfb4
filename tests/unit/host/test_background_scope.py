"""A command that changes a host runs in a scope of low CPU weight."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mms_server.core import process
from mms_server.host import background_scope


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commands that were run; the process has root's rights."""
    found: list[str] = []

    def run(command: Sequence[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
        assert timeout_s <= 10
        found.append(" ".join(command))
        return subprocess.CompletedProcess(command, int("7" in command), "", "no such\nprocess")

    monkeypatch.setattr(process, "run", run)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    return found


def test_a_command_of_a_session_moves_to_a_scope_of_little_weight(
    commands: list[str], tmp_path: Path
) -> None:
    assert background_scope.enter_background_scope({}, 5, tmp_path) == ""
    (command,) = commands
    assert command.startswith("busctl --quiet call org.freedesktop.systemd1 ")
    assert " mms-change-5.scope fail 4 PIDs au 1 5 Slice s system.slice CPUWeight t 10 " in command


def test_a_process_of_systemd_keeps_its_weight(commands: list[str], tmp_path: Path) -> None:
    assert background_scope.enter_background_scope({"INVOCATION_ID": "x"}, 5, tmp_path) == ""
    assert background_scope.enter_background_scope({}, 5, tmp_path / "missing") == ""
    assert commands == []


def test_without_root_s_rights_no_command_runs(
    commands: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert background_scope.enter_background_scope({}, 5, tmp_path) == ""
    assert commands == []


def test_a_failure_is_returned_and_not_raised(
    commands: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = "this command runs with normal CPU weight: no such process"
    assert background_scope.enter_background_scope({}, 7, tmp_path) == expected
    assert commands

    def missing(*_arguments: Any) -> None:
        raise FileNotFoundError(2, "No such file", "busctl")

    monkeypatch.setattr(process, "run", missing)
    assert "busctl" in background_scope.enter_background_scope({}, 5, tmp_path)
