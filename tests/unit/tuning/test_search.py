"""Tests of the search of `mms tune`: candidates, stable measurements, and the best of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mms_server.tuning.search import (
    MAX_CONNECTIONS,
    Candidate,
    Measurement,
    Window,
    add_delays,
    list_candidates,
    measure_candidate,
    measure_until_stable,
    select_best,
)

ONE = Candidate(2, 8)


def constant(rate: float, ms_each: float = 1.0) -> Callable[[int], Window]:
    """Return a measurement of a server with a constant rate: latency grows with connections."""
    return lambda connections: Window(rate, ms_each * connections, 2 * ms_each * connections)


def measured(rate: float, p99_ms: float, candidate: Candidate = ONE, **more: object) -> Measurement:
    facts = {"connections": 4, "stable": True, "failed": 0, **more}
    window = Window(rate, p99_ms / 2, p99_ms, int(str(facts["failed"])))
    return Measurement(candidate, int(str(facts["connections"])), window, bool(facts["stable"]))


def test_current_settings_come_first_and_no_candidate_twice() -> None:
    found = list_candidates(4, Candidate(3, 8))
    assert found[0] == Candidate(3, 8)
    assert set(found[1:]) == {Candidate(w, b) for w in (4, 2) for b in (1, 8, 32)}
    assert list_candidates(1, Candidate(1, 1)) == [Candidate(1, b) for b in (1, 8, 32)]


def test_the_fastest_candidate_with_batches_is_tried_with_delays() -> None:
    assert add_delays(Candidate(2, 1)) == []
    assert add_delays(Candidate(2, 8)) == [Candidate(2, 8, 2), Candidate(2, 8, 10)]
    assert add_delays(Candidate(2, 8, 2)) == [Candidate(2, 8, 10)]


def test_of_equal_rates_the_shortest_delay_wins() -> None:
    slow, fast = (measured(100, 5, Candidate(2, 8, delay)) for delay in (10, 0))
    assert select_best([slow, fast], 10) == fast


def test_connections_double_while_the_rate_grows() -> None:
    rates = {1: 10.0, 2: 20.0, 4: 20.5, 8: 21.0}
    found = measure_candidate(ONE, 1000, lambda count: Window(rates[count], 1, 2))
    assert [each.connections for each in found] == [1, 2, 4]


def test_measuring_ends_over_the_limit_and_at_the_largest_number_of_connections() -> None:
    found = measure_candidate(ONE, 7, lambda count: Window(10.0 * count, count, 2 * count))
    assert [each.window.p99_ms for each in found] == [2, 4, 8]
    found = measure_candidate(ONE, 1e9, lambda count: Window(10.0 * count, count, 2 * count))
    assert found[-1].connections == MAX_CONNECTIONS


def test_measuring_ends_with_a_failed_request() -> None:
    found = measure_candidate(
        ONE, 1000, lambda count: Window(10.0 * count, 1, 2, failed=int(count == 2))
    )
    assert [each.window.failed for each in found] == [0, 2]


@pytest.mark.parametrize(
    ("rates", "windows", "stable"),
    [
        ([100, 91], 2, True),
        ([100, 89, 100, 95], 4, True),
        ([100, 50, 100, 50, 100], 5, False),
    ],
)
def test_two_successive_windows_must_agree(rates: list[float], windows: int, stable: bool) -> None:
    left = list(rates)
    found = measure_until_stable(ONE, 1, lambda _connections: Window(left.pop(0), 1, 2))
    assert len(rates) - len(left) == windows
    assert found.stable is stable


def test_the_worse_of_two_windows_counts() -> None:
    left = [Window(100, 5, 9), Window(95, 4, 12)]
    found = measure_until_stable(ONE, 1, lambda _connections: left.pop(0))
    assert found.window == Window(95, 5, 12)


def test_the_fastest_within_the_limit_is_selected() -> None:
    found = [measured(100, 50.0), measured(200, 50.1), measured(90, 10)]
    assert select_best(found, 50) == found[0]
    assert select_best(found, 50.1) == found[1]
    assert select_best(found, 9) is None


def test_failed_and_unstable_measurements_are_not_selected() -> None:
    assert select_best([measured(100, 5, failed=1), measured(100, 5, stable=False)], 50) is None


def test_of_equal_rates_the_smaller_settings_win() -> None:
    small, large = Candidate(1, 1), Candidate(2, 8)
    found = [measured(100, 9, large), measured(95, 9, small)]
    assert select_best(found, 50) == found[1]
    found = [measured(100, 9, large), measured(94.9, 9, small)]
    assert select_best(found, 50) == found[0]
