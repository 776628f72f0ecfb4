"""The arithmetic of the benchmark."""

from __future__ import annotations

import itertools
import json
import random

import pytest

from tests.bench import figures
from tests.bench.figures import Row, Window
from tests.bench.limit import Shape, shapes

ROW = Row(
    "mms-hosts",
    "m",
    "mxnet",
    8,
    10.2,
    45.0,
    160.0,
    190.04,
    0,
    50.0,
    40.0,
    2.5,
    312.4,
    (44.0, 45.0, 47.0),
)


@pytest.mark.parametrize(
    ("share", "value"), [(0, 1), (0.5, 50), (0.501, 51), (0.99, 99), (0.991, 100), (1, 100)]
)
def test_a_percentile_is_a_value_that_was_measured(share: float, value: int) -> None:
    values = list(range(100, 0, -1))

    assert figures.percentile(values, share) == value


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 1.01), ([1.0], -0.01)])
def test_no_percentile_of_nothing_or_beyond_all(values: list[float], share: float) -> None:
    with pytest.raises(ValueError, match=r"percentile of nothing|from 0 to 1"):
        figures.percentile(values, share)


def test_arrivals_are_seeded_and_in_order_within_the_run() -> None:
    times = figures.poisson_schedule(50, 10, random.Random(1))

    assert times == figures.poisson_schedule(50, 10, random.Random(1))
    assert times != figures.poisson_schedule(50, 10, random.Random(2))
    assert times == sorted(times)
    assert times[0] > 0
    assert times[-1] < 10


def test_arrivals_are_poisson() -> None:
    times = figures.poisson_schedule(100, 1000, random.Random(3))
    gaps = [after - before for before, after in itertools.pairwise(times)]
    mean = sum(gaps) / len(gaps)
    variance = sum((gap - mean) ** 2 for gap in gaps) / len(gaps)

    assert mean == pytest.approx(0.01, rel=0.02)
    # Of an exponential distribution the deviation is the mean.
    assert variance**0.5 == pytest.approx(mean, rel=0.03)


def test_a_run_is_void_from_one_late_send_too_many_on() -> None:
    on_time, late = figures.LATE_SEND_S, figures.LATE_SEND_S + 0.0001

    assert not figures.is_void([on_time] * 100)
    assert not figures.is_void([on_time] * 99 + [late])
    assert figures.is_void([on_time] * 98 + [late] * 2)


@pytest.mark.parametrize(("servers", "load", "times"), [(1, 0.32, 3), (1, 0.55, 5), (2, 0.57, 3)])
def test_the_bound_of_a_queue(servers: int, load: float, times: int) -> None:
    """At this load, known to 0.03, the tail of M/D/c reaches so many times the service time."""

    def tail(share: float) -> float:
        return figures.queueing_p99(servers, 1.0, share * servers, 60_000, random.Random(4))

    assert tail(load - 0.03) < times < tail(load + 0.03)


def test_an_idle_queue_costs_nothing_but_the_service() -> None:
    tail = figures.queueing_p99(2, 0.02, 0.01, 1000, random.Random(5))

    assert tail == pytest.approx(0.02)


def test_medians_are_taken_figure_by_figure_and_failures_added() -> None:
    runs = [Window(40, 10, 90, 1), Window(50, 12, 70, 0), Window(45, 30, 80, 2)]

    assert figures.median_window(runs) == Window(45, 12, 80, 3)


def test_the_table_shows_each_rate_beside_its_limit() -> None:
    head, rule, line = figures.table([ROW]).splitlines()

    assert head.count("|") == rule.count("|") == line.count("|")
    assert line == (
        "| mms-hosts | m | mxnet | 10 | 8 | 45.0 | 44.0 45.0 47.0 | 50.0 | 0.90 "
        "| 40.0 | 160.0 | 190.0 | 0 | 2.5 | 312 |"
    )


def test_the_table_of_open_loops_names_void_runs() -> None:
    row = json.loads(
        '{"model": "m", "offered_per_s": 35, "good_per_s": 34.5, "bad": 2, "p50_ms": 41, '
        '"p99_ms": 90, "bound_p99_ms": 80, "void": 1, "runs": 3}'
    )
    head, rule, line = figures.open_table([row]).splitlines()

    assert head.count("|") == rule.count("|") == line.count("|")
    assert line == "| m | 35.0 | 34.5 | 2 | 41.0 | 90.0 | 80.0 | 1 of 3 |"


def test_the_limit_is_looked_for_without_more_threads_than_cores() -> None:
    assert shapes(1, [1]) == [Shape(1, 1, 1)]
    tried = shapes(2, [1, 8])

    assert len(tried) == len(set(tried)) == 6
    assert all(shape.processes * shape.threads <= 2 for shape in tried)
