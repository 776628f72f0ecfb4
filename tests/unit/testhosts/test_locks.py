"""Locks name their holder; claims are seen by everyone and die with their process."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from testhosts import locks
from testhosts.errors import BusyError


def test_a_lock_that_is_not_free_in_time_names_its_holder(tmp_path: Path) -> None:
    with (
        locks.lock(tmp_path / "image", what="the image", timeout_s=1),
        pytest.raises(BusyError, match=f"the image is in use by pid {os.getpid()}"),
        locks.lock(tmp_path / "image", what="the image", timeout_s=0.2),
    ):
        pass


def test_a_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locks.lock(tmp_path / "l", what="it", timeout_s=1):
        raise ZeroDivisionError
    with locks.lock(tmp_path / "l", what="it", timeout_s=0.2):
        pass


def test_a_claim_is_held_until_its_descriptor_is_closed(tmp_path: Path) -> None:
    assert locks.holder("10.77.0.11", claims=tmp_path) is None
    held = locks.claim("10.77.0.11", "mms-1", Path("/checkout"), claims=tmp_path)
    owner = locks.Claim(os.getpid(), "mms-1", "/checkout")
    assert locks.holder("10.77.0.11", claims=tmp_path) == owner
    assert locks.holders("10.77.0.", claims=tmp_path) == {"10.77.0.11": owner}
    os.close(held)
    assert locks.holder("10.77.0.11", claims=tmp_path) is None
    assert locks.holders("10.77.0.", claims=tmp_path) == {}


def test_a_living_claim_is_refused_with_owner_and_fix(tmp_path: Path) -> None:
    held = locks.claim("10.77.0.11", "mms-1", Path("/checkout"), claims=tmp_path)
    expected = f"address 10.77.0.11 is in use by mms-1 of /checkout (pid {os.getpid()}). Fix: run"
    with pytest.raises(BusyError, match=re.escape(expected)) as caught:
        locks.claim("10.77.0.11", "mms-1", Path("/other"), claims=tmp_path)
    assert caught.value.exit_code == 1
    os.close(held)


def test_a_claim_left_by_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    os.close(locks.claim("10.77.0.11", "mms-1", Path("/old"), claims=tmp_path))
    held = locks.claim("10.77.0.11", "mms-1", Path("/new"), claims=tmp_path)
    owner = locks.holder("10.77.0.11", claims=tmp_path)
    assert owner is not None
    assert owner.directory == "/new"
    os.close(held)


def test_a_claim_can_be_handed_to_a_child(tmp_path: Path) -> None:
    held = locks.claim("10.77.0.1", "NFS", Path("/checkout"), claims=tmp_path)
    copy = os.dup(held)
    locks.write_claim(held, locks.Claim(1, "NFS", "/checkout"))
    os.close(held)
    assert locks.holder("10.77.0.1", claims=tmp_path) == locks.Claim(1, "NFS", "/checkout")
    os.close(copy)
    assert locks.holder("10.77.0.1", claims=tmp_path) is None
