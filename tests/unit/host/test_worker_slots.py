"""The slots of workers: a new worker takes the lowest free slot."""

from __future__ import annotations

from mms_server.host.worker_slots import WorkerSlots


def test_a_successor_takes_the_slot_of_the_dead() -> None:
    slots = WorkerSlots()
    assert [slots.take(worker) for worker in (11, 12, 13)] == [0, 1, 2]
    slots.free(12)
    assert slots.take(14) == 1
    assert slots.take(15) == 3


def test_a_worker_keeps_its_slot() -> None:
    slots = WorkerSlots()
    assert slots.take("a") == slots.take("a") == 0
    slots.free("unknown")
