"""A release waits at its start barrier, for a limited time."""

from __future__ import annotations

from pathlib import Path

import pytest

from mms_server.core.paths import Layout
from mms_server.host import start_barrier


class Time:
    def __init__(self) -> None:
        self.now = 100.0
        self.slept = 0
        self.lift_at: float | None = None
        self.file = Path()

    def uptime(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept += 1
        self.now += seconds
        if self.lift_at is not None and self.now >= self.lift_at:
            self.file.unlink(missing_ok=True)


@pytest.fixture
def time() -> Time:
    return Time()


def test_without_a_barrier_there_is_no_wait(tmp_path: Path, time: Time) -> None:
    start_barrier.wait(tmp_path / "hold", time.uptime, time.sleep)
    assert time.slept == 0


def test_it_waits_until_it_is_lifted(tmp_path: Path, time: Time) -> None:
    layout = Layout.under(tmp_path)
    start_barrier.place(layout, "m.1", 200)
    time.file, time.lift_at = layout.hold_file("m.1"), 110.0
    start_barrier.wait(time.file, time.uptime, time.sleep)
    assert 110 <= time.now < 111
    start_barrier.lift(layout, "m.1")


def test_it_waits_until_the_uptime_in_the_file(tmp_path: Path, time: Time) -> None:
    layout = Layout.under(tmp_path)
    start_barrier.place(layout, "m.1", 105)
    start_barrier.wait(layout.hold_file("m.1"), time.uptime, time.sleep)
    assert 105 <= time.now < 106


@pytest.mark.parametrize("text", ["", "soon", "nan", "-inf"])
def test_a_damaged_file_is_no_barrier(tmp_path: Path, time: Time, text: str) -> None:
    (tmp_path / "hold").write_text(text)
    start_barrier.wait(tmp_path / "hold", time.uptime, time.sleep)
    assert time.slept == 0
