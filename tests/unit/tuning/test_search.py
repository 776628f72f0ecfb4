"""What is tried, when a measurement counts, and which is best."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mms_server.tuning.search import (
    MOST_CONNECTIONS,
    Candidate,
    Measurement,
    Window,
    best,
    candidates,
    climb,
    delayed,
    settled,
)

ONE = Candidate(2, 8)


def constant(rate: float, ms_each: float = 1.0) -> Callable[[int], Window]:
    """Return what looks at a server of this rate: more connections wait longer."""
    return lambda many: Window(rate, ms_each * many, 2 * ms_each * many)


def measured(rate: float, p99_ms: float, candidate: Candidate = ONE, **more: object) -> Measurement:
    facts = {"connections": 4, "stable": True, "failed": 0, **more}
    window = Window(rate, p99_ms / 2, p99_ms, int(str(facts["failed"])))
    return Measurement(candidate, int(str(facts["connections"])), window, bool(facts["stable"]))


def test_what_serves_is_tried_first_and_nothing_twice() -> None:
    found = candidates(4, Candidate(3, 8))
    assert found[0] == Candidate(3, 8)
    assert set(found[1:]) == {Candidate(w, b) for w in (4, 2) for b in (1, 8, 32)}
    assert candidates(1, Candidate(1, 1)) == [Candidate(1, b) for b in (1, 8, 32)]


def test_what_is_best_in_batches_is_tried_with_delays() -> None:
    assert delayed(Candidate(2, 1)) == []
    assert delayed(Candidate(2, 8)) == [Candidate(2, 8, 2), Candidate(2, 8, 10)]
    assert delayed(Candidate(2, 8, 2)) == [Candidate(2, 8, 10)]


def test_of_equal_ones_the_shortest_delay_wins() -> None:
    slow, fast = (measured(100, 5, Candidate(2, 8, delay)) for delay in (10, 0))
    assert best([slow, fast], 10) == fast


def test_connections_double_while_they_bring_more() -> None:
    rates = {1: 10.0, 2: 20.0, 4: 20.5, 8: 21.0}
    found = climb(ONE, 1000, lambda many: Window(rates[many], 1, 2))
    assert [each.connections for each in found] == [1, 2, 4]


def test_it_ends_over_the_limit_and_at_the_most() -> None:
    found = climb(ONE, 7, lambda many: Window(10.0 * many, many, 2 * many))
    assert [each.window.p99_ms for each in found] == [2, 4, 8]
    found = climb(ONE, 1e9, lambda many: Window(10.0 * many, many, 2 * many))
    assert found[-1].connections == MOST_CONNECTIONS


def test_it_ends_with_a_failure() -> None:
    found = climb(ONE, 1000, lambda many: Window(10.0 * many, 1, 2, failed=int(many == 2)))
    assert [each.window.failed for each in found] == [0, 2]


@pytest.mark.parametrize(
    ("rates", "looks", "stable"),
    [
        ([100, 91], 2, True),
        ([100, 89, 100, 95], 4, True),
        ([100, 50, 100, 50, 100], 5, False),
    ],
)
def test_windows_have_to_agree(rates: list[float], looks: int, stable: bool) -> None:
    left = list(rates)
    found = settled(ONE, 1, lambda _many: Window(left.pop(0), 1, 2))
    assert len(rates) - len(left) == looks
    assert found.stable is stable


def test_of_two_windows_the_worse_counts() -> None:
    left = [Window(100, 5, 9), Window(95, 4, 12)]
    found = settled(ONE, 1, lambda _many: left.pop(0))
    assert found.window == Window(95, 5, 12)


def test_the_fastest_within_the_limit() -> None:
    found = [measured(100, 50.0), measured(200, 50.1), measured(90, 10)]
    assert best(found, 50) == found[0]
    assert best(found, 50.1) == found[1]
    assert best(found, 9) is None


def test_what_failed_or_was_not_stable_is_no_choice() -> None:
    assert best([measured(100, 5, failed=1), measured(100, 5, stable=False)], 50) is None


def test_of_equal_ones_the_smaller_settings() -> None:
    small, large = Candidate(1, 1), Candidate(2, 8)
    found = [measured(100, 9, large), measured(95, 9, small)]
    assert best(found, 50) == found[1]
    found = [measured(100, 9, large), measured(94.9, 9, small)]
    assert best(found, 50) == found[0]
