"""The watchdog is fed often enough and not more; the whole master has tests in tests/http."""

from __future__ import annotations

import pytest

from mms_server.arbiter import Watchdog


def test_it_is_fed_four_times_within_its_limit() -> None:
    now, told = [0.0], list[str]()
    watchdog = Watchdog({"WATCHDOG_USEC": "8000000"}, told.append, lambda: now[0])
    times = []
    for step in range(100):
        now[0] = step / 10
        watchdog.feed()
        times += [now[0]] * (len(told) - len(times))
    assert told == ["WATCHDOG=1"] * 5
    assert times == [0, 2, 4, 6, 8]


@pytest.mark.parametrize("environ", [{}, {"WATCHDOG_USEC": ""}, {"WATCHDOG_USEC": "x"}])
def test_it_is_fed_by_nobody_who_was_not_asked(environ: dict[str, str]) -> None:
    told: list[str] = []
    Watchdog(environ, told.append).feed()
    assert told == []
