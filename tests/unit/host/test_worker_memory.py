"""The limit of a worker's private memory, and the measurements of this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from mms_server.config.settings import DERIVED
from mms_server.host.cgroup import Cgroup
from mms_server.host.worker_memory import WorkerMemory, limit_of, private_bytes, resident_bytes

MIB = 1024 * 1024


class Worker:
    def __init__(self, limit: int) -> None:
        self.now, self.private, self.measurements = 0.0, 10 * MIB, 0
        self.reported: list[tuple[int, float]] = []
        self.memory = WorkerMemory(
            limit,
            lambda private, growth: self.reported.append((private, growth)),
            lambda: self.now,
            resident=lambda: 100 * MIB + self.private,
            private=self._private,
        )

    def _private(self) -> int:
        self.measurements += 1
        return self.private

    def serve(self, private: int, seconds: float = 1.0) -> bool:
        self.now += seconds
        self.private = private
        return self.memory.exceeded()


@pytest.mark.parametrize(("private", "exceeded"), [(50 * MIB, False), (50 * MIB + 1, True)])
def test_the_limit(private: int, exceeded: bool) -> None:
    worker = Worker(50 * MIB)
    assert not worker.serve(10 * MIB)
    assert worker.serve(private) is exceeded


def test_memory_of_the_first_request_is_not_growth() -> None:
    worker = Worker(50 * MIB)
    assert not worker.serve(90 * MIB)
    assert not worker.serve(100 * MIB, 20)
    assert worker.serve(120 * MIB)


def test_without_a_limit_the_metric_is_reported() -> None:
    worker = Worker(0)
    worker.serve(10 * MIB)
    assert not worker.serve(900 * MIB, 10)
    assert worker.reported == [(10 * MIB, 0.0), (900 * MIB, 89 * MIB)]


def test_private_memory_is_measured_seldom() -> None:
    worker = Worker(50 * MIB)
    for _ in range(100):
        worker.serve(10 * MIB, 0.01)
    assert worker.measurements == 1
    worker.serve(18 * MIB, 0.01)
    assert worker.measurements == 2
    worker.serve(18 * MIB, 10)
    assert worker.measurements == 3


def test_the_limit_is_derived_from_the_control_group(tmp_path: Path) -> None:
    cgroup = Cgroup(tmp_path)
    assert limit_of(DERIVED, 2, 0, cgroup) == 0
    (tmp_path / "memory.max").write_text("2000000000\n")
    (tmp_path / "memory.high").write_text("max\n")
    assert limit_of(DERIVED, 2, 200_000_000, cgroup) == 800_000_000
    (tmp_path / "memory.high").write_text("1000000000\n")
    assert limit_of(DERIVED, 2, 200_000_000, cgroup) == 350_000_000
    assert limit_of(DERIVED, 64, 0, cgroup) == 64 * MIB
    assert limit_of(0, 2, 0, cgroup) == 0
    assert limit_of(7, 2, 0, cgroup) == 7


def test_the_memory_of_this_process(tmp_path: Path) -> None:
    before = private_bytes()
    held = bytearray(b"x") * (64 * MIB)
    assert private_bytes() - before > 60 * MIB
    assert resident_bytes() > len(held)
    assert (resident_bytes(tmp_path / "none"), private_bytes(tmp_path / "none")) == (0, 0)


def test_a_control_group_that_cannot_be_read(tmp_path: Path) -> None:
    listed = tmp_path / "cgroup"
    listed.write_text("0::/system.slice/mms@x.service\n")
    found = Cgroup.current(listed, tmp_path)
    assert found.directory == tmp_path / "system.slice/mms@x.service"
    assert (found.oom_kills(), found.limit_bytes(), found.peak_bytes()) == (0, 0, 0)
    assert Cgroup.current(tmp_path / "none", tmp_path).directory == tmp_path
