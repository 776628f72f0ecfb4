"""The arithmetic of the benchmark: percentiles, arrivals, medians of runs, and the table."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

LATE_SEND_S: Final = 0.005
LATE_SENDS_ALLOWED: Final = 0.01
LEAST_BOUND_S: Final = 0.05


@dataclass(frozen=True)
class Window:
    """The result of one closed-loop run: answers per second, latencies in ms, failed requests."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    failed: int


@dataclass(frozen=True)
class Row:
    """One line of the table, with the names of ``bench.json``.

    ``requests_per_s`` is the median of the rates ``runs``. ``limit_per_s`` is the raw limit,
    measured between those runs. ``bare_ms`` is the time of one picture in a bare loop of one
    process. ``ready_s`` are the seconds from a start to the first answer. ``image_kb`` is the size
    of the picture.
    """

    system: str
    model: str
    engine: str
    connections: int
    image_kb: float
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    failed: int
    limit_per_s: float
    bare_ms: float
    ready_s: float
    pss_mib: float
    runs: tuple[float, ...]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least ``share`` (0 to 1) of ``values`` do not exceed.

    Raises:
        ValueError: there are no values, or ``share`` is out of range.
    """
    if not values:
        raise ValueError("there is no percentile of nothing")
    if not 0 <= share <= 1:
        raise ValueError(f"a share is from 0 to 1, not {share}")
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]


def poisson_schedule(rate_per_s: float, length_s: float, rng: random.Random) -> list[float]:
    """Return the send times of an open loop with Poisson arrivals, in seconds from the start."""
    times: list[float] = []
    at = rng.expovariate(rate_per_s)
    while at < length_s:
        times.append(at)
        at += rng.expovariate(rate_per_s)
    return times


def is_void(late_s: Sequence[float]) -> bool:
    """Return whether too many requests were sent late: then the run measures its own client."""
    late = sum(one > LATE_SEND_S for one in late_s)
    return late > LATE_SENDS_ALLOWED * len(late_s)


def bound_s(times: float, unloaded_s: float) -> float:
    """Return the assumed time limit of a client: ``times`` unloaded answers, at least 50 ms."""
    return max(times * unloaded_s, LEAST_BOUND_S)


def queueing_p99(
    servers: int, service_s: float, rate_per_s: float, arrivals: int, rng: random.Random
) -> float:
    """Return the 99th percentile, in seconds, of an ideal first-come-first-served queue.

    It is simulated (M/D/c): ``servers`` equal workers on one queue, ``service_s`` for each request,
    Poisson arrivals, no refusals. No server with this order can be faster.
    """
    free = [0.0] * servers
    at, taken = 0.0, []
    for _ in range(arrivals):
        at += rng.expovariate(rate_per_s)
        first = min(range(servers), key=free.__getitem__)
        free[first] = max(free[first], at) + service_s
        taken.append(free[first] - at)
    return percentile(taken, 0.99)


def median_window(windows: Sequence[Window]) -> Window:
    """Return the medians of the runs, and the sum of their failures."""
    return Window(
        statistics.median(one.requests_per_s for one in windows),
        statistics.median(one.p50_ms for one in windows),
        statistics.median(one.p99_ms for one in windows),
        sum(one.failed for one in windows),
    )


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table, each with its raw limit."""
    head = (
        "| system | model | engine | image kB | connections | req/s | all runs | limit L | of L "
        "| bare ms | p50 ms | p99 ms | failed | ready after s | PSS MiB |"
    )
    lines = [head, "|---|---|---|--:|--:|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|"]
    for row in rows:
        runs = " ".join(f"{rate:.1f}" for rate in row.runs)
        share = f"{row.requests_per_s / row.limit_per_s:.2f}" if row.limit_per_s else "-"
        lines.append(
            f"| {row.system} | {row.model} | {row.engine} | {row.image_kb:.0f} | {row.connections} "
            f"| {row.requests_per_s:.1f} | {runs} | {row.limit_per_s:.1f} | {share} "
            f"| {row.bare_ms:.1f} | {row.p50_ms:.1f} | {row.p99_ms:.1f} | {row.failed} "
            f"| {row.ready_s:.1f} | {row.pss_mib:.0f} |"
        )
    return "\n".join(lines)


def open_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the open-loop runs as a Markdown table, each with the latency of its ideal queue."""
    head = (
        "| model | offered req/s | good | wrong or late | p50 ms | p99 ms | bound p99 ms "
        "| void runs |"
    )
    lines = [head, "|---|--:|--:|--:|--:|--:|--:|--:|"]
    lines += [
        f"| {row['model']} | {row['offered_per_s']:.1f} | {row['good_per_s']:.1f} | {row['bad']} "
        f"| {row['p50_ms']:.1f} | {row['p99_ms']:.1f} | {row['bound_p99_ms']:.1f} "
        f"| {row['void']} of {row['runs']} |"
        for row in rows
    ]
    return "\n".join(lines)
