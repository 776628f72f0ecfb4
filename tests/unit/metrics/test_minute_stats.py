"""The ring buffers of minutes: reading returns the observed values, and none of older minutes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mms_server.metrics import minute_stats, multiprocess
from mms_server.metrics.minute_stats import RING_MINUTES, MinuteStats, Statistic

KEYS = [("a", "X"), ("a", "Y"), ("b", "X")]


@pytest.fixture(autouse=True)
def _master() -> Iterator[None]:
    yield
    multiprocess.set_process_name(multiprocess.MASTER)


class Clock:
    def __init__(self, now: float = 6000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def read(directory: Path, minute: int) -> dict[tuple[str, str], Statistic]:
    return minute_stats.read(sorted(directory.glob("*.minutes")), minute)


def test_a_minute_over_several_processes(tmp_path: Path) -> None:
    clock = Clock()
    for name, values in {"0": (3.0, 1.0), "1": (5.0,)}.items():
        multiprocess.set_process_name(name)
        ring = MinuteStats(tmp_path, "p", KEYS, clock)
        for value in values:
            ring.add(("a", "X"), value)
    assert read(tmp_path, 100) == {("a", "X"): Statistic(3, 9, 1, 5)}
    assert read(tmp_path, 99) == read(tmp_path, 101) == {}


def test_a_ring_buffer_has_its_minutes_and_no_older_one(tmp_path: Path) -> None:
    clock = Clock()
    ring = MinuteStats(tmp_path, "p", KEYS, clock)
    for number in range(100, 100 + RING_MINUTES + 1):
        clock.now = number * 60.0
        ring.add(("b", "X"), float(number))
    assert read(tmp_path, 100) == {}
    for number in range(101, 100 + RING_MINUTES + 1):
        assert read(tmp_path, number)["b", "X"] == Statistic.of(number)


@pytest.mark.parametrize(("now", "minute"), [(6059.999, 100), (6060.0, 101)])
def test_where_a_minute_ends(tmp_path: Path, now: float, minute: int) -> None:
    MinuteStats(tmp_path, "p", KEYS, Clock(now)).add(("a", "Y"), 1.0)
    assert list(read(tmp_path, minute)) == [("a", "Y")]
    assert minute_stats.end_of(100) == 6060.0


def test_a_new_process_continues_the_file_and_a_fork_has_its_own_file(tmp_path: Path) -> None:
    clock = Clock()
    ring = MinuteStats(tmp_path, "p", KEYS, clock)
    ring.add(("a", "X"), 1.0)
    MinuteStats(tmp_path, "p", KEYS, clock).add(("a", "X"), 2.0)
    child = os.fork()
    if child == 0:
        multiprocess.set_process_name("7")
        ring.add(("a", "X"), 4.0)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    ring.add(("a", "X"), 8.0)
    assert {path.name for path in tmp_path.iterdir()} == {"p-master.minutes", "p-7.minutes"}
    assert read(tmp_path, 100)["a", "X"] == Statistic(4, 15, 1, 8)


def test_a_file_of_other_models_is_emptied(tmp_path: Path) -> None:
    clock = Clock()
    MinuteStats(tmp_path, "p", KEYS, clock).add(("a", "X"), 1.0)
    MinuteStats(tmp_path, "p", [("c", "X"), *KEYS], clock).add(("c", "X"), 2.0)
    assert read(tmp_path, 100) == {("c", "X"): Statistic.of(2.0)}


@given(st.binary(max_size=200), st.booleans())
def test_an_invalid_file_does_not_affect_the_others(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, headed: bool
) -> None:
    directory = tmp_path_factory.mktemp("f")
    MinuteStats(directory, "p", KEYS, Clock()).add(("a", "X"), 1.0)
    head = (directory / "p-master.minutes").read_bytes()[:60] if headed else b""
    (directory / "a.minutes").write_bytes(head + data)
    (directory / "b.minutes").symlink_to("/etc/passwd")
    os.mkfifo(directory / "c.minutes")
    assert read(directory, 100)["a", "X"].count >= 1


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=30))
def test_statistics(tmp_path_factory: pytest.TempPathFactory, values: list[float]) -> None:
    directory = tmp_path_factory.mktemp("s")
    ring = MinuteStats(directory, "p", KEYS, Clock())
    for value in values:
        ring.add(("a", "X"), value)
    seen = read(directory, 100)["a", "X"]
    assert (seen.count, seen.minimum, seen.maximum) == (len(values), min(values), max(values))
    assert seen.total == pytest.approx(sum(values))
    assert seen.average == pytest.approx(sum(values) / len(values))
