"""The watchdog's feeds, and a process's children. The whole master has tests in tests/http."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mms_server.server.arbiter import Watchdog, children


def test_it_is_fed_four_times_within_its_interval() -> None:
    now, notified = [0.0], list[str]()
    watchdog = Watchdog({"WATCHDOG_USEC": "8000000"}, notified.append, lambda: now[0])
    times = []
    for step in range(100):
        now[0] = step / 10
        watchdog.feed()
        times += [now[0]] * (len(notified) - len(times))
    assert notified == ["WATCHDOG=1"] * 5
    assert times == [0, 2, 4, 6, 8]


def test_children_are_found_by_their_parent_whatever_their_name(tmp_path: Path) -> None:
    for pid, text in {7: "7 (a) b) (c) S 1 7", 8: "8 (sh) S 7 8", 9: "9 (x y) Z 7 9"}.items():
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "stat").write_text(text)
    (tmp_path / "10").mkdir()
    (tmp_path / "meminfo").touch()
    assert sorted(children(7, tmp_path)) == [8, 9]
    assert list(children(os.getpid())) == []


@pytest.mark.parametrize("environ", [{}, {"WATCHDOG_USEC": ""}, {"WATCHDOG_USEC": "x"}])
def test_without_an_interval_it_is_not_fed(environ: dict[str, str]) -> None:
    notified: list[str] = []
    Watchdog(environ, notified.append).feed()
    assert notified == []
