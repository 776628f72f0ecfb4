"""A change of the host moves into a scope of little weight."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from mms_server import own_scope


def test_root_on_a_host_moves_unless_it_is_a_unit(tmp_path: Path) -> None:
    assert own_scope.needed({}, 0, tmp_path)
    assert not own_scope.needed({}, 1000, tmp_path)
    assert not own_scope.needed({"INVOCATION_ID": "1"}, 0, tmp_path)
    assert not own_scope.needed({}, 0, tmp_path / "no-systemd")


def test_the_process_is_moved_beside_the_services() -> None:
    asked: list[Sequence[str]] = []

    def run(command: Sequence[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
        assert timeout_s <= 10
        asked.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    assert own_scope.enter("apply", 42, run)
    words = " ".join(asked[0])
    assert " StartTransientUnit ssa(sv)a(sa(sv)) mms-apply-42.scope fail 5 " in words
    assert " Slice s system.slice " in words
    assert " CPUWeight t 10 " in words
    assert words.endswith(" PIDs au 1 42 0")


@pytest.mark.parametrize(
    "error", [None, OSError("no busctl"), subprocess.TimeoutExpired("busctl", 10)]
)
def test_a_change_goes_on_where_it_cannot_move(error: Exception | None) -> None:
    def run(command: Sequence[str], _timeout_s: float) -> subprocess.CompletedProcess[str]:
        if error:
            raise error
        return subprocess.CompletedProcess(command, 1, "", "refused")

    assert not own_scope.enter("apply", 42, run)
