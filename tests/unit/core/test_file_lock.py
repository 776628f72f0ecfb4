"""Locks on files by flock."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mms_server.core import file_lock


def test_a_lock_is_free_when_its_descriptor_is_closed(tmp_path: Path) -> None:
    first = file_lock.open_lock_file(tmp_path / "lock")
    second = file_lock.open_lock_file(tmp_path / "lock")
    assert file_lock.try_lock(first)
    assert not file_lock.try_lock(second)
    os.close(first)
    assert file_lock.try_lock(second)
    os.close(second)


def test_the_wait_for_a_lock_is_limited(tmp_path: Path) -> None:
    first = file_lock.open_lock_file(tmp_path / "lock")
    second = file_lock.open_lock_file(tmp_path / "lock")
    assert file_lock.lock(first, 0)
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    def wait(wait_s: float) -> bool:
        return file_lock.lock(second, wait_s, clock=lambda: now[0], sleep=sleep, pause_s=0.5)

    assert not wait(2.0)
    assert now == [2.0]
    os.close(first)
    assert wait(0)
    assert now == [2.0]
    os.close(second)


def test_a_link_is_not_locked(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        file_lock.open_lock_file(tmp_path / "lock")
    assert not (tmp_path / "elsewhere").exists()
