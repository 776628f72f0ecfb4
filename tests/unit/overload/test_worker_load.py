"""How many requests a worker may take, by the requests that others have in flight."""

from __future__ import annotations

from pathlib import Path

import pytest

from mms_server.overload.worker_load import MOST, WorkerLoad

WANTED = 8


def worker_load(path: Path, slot: int, held: int) -> WorkerLoad:
    made = WorkerLoad(path / "hands", 3)
    made.begin(slot)
    made.hold(held)
    return made


@pytest.mark.parametrize(
    ("others", "allowed"),
    [
        ([], WANTED),
        ([0], 1),
        ([0, 6], 1),
        ([1], 2),
        ([3, 1], 4),
        ([7, 1], WANTED),
        ([8, 1], WANTED),
        ([MOST + 1, 1], WANTED),
    ],
)
def test_a_worker_leaves_requests_to_the_others(
    tmp_path: Path, others: list[int], allowed: int
) -> None:
    own = worker_load(tmp_path, 0, 1)
    for slot, held in enumerate(others, 1):
        worker_load(tmp_path, slot, held)
    assert own.most(WANTED) == allowed


def test_a_worker_that_left_or_ended_gets_none(tmp_path: Path) -> None:
    own, leaving, _dead = (worker_load(tmp_path, slot, 0) for slot in range(3))
    leaving.leave()
    assert own.most(WANTED) == 1
    own.forget(2)
    assert own.most(WANTED) == WANTED


def test_a_new_master_clears_the_slots(tmp_path: Path) -> None:
    worker_load(tmp_path, 1, 0)
    own = WorkerLoad(tmp_path / "hands", 3)
    own.clear()
    own.begin(0)
    assert own.most(WANTED) == WANTED
