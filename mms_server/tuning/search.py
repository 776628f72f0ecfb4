"""Search strategy of ``mms tune``: candidates, repeated measurements, and the best of them.

The functions are pure: the caller measures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Final

from mms_server.config.model_settings import DEFAULT_BATCH

LARGE_BATCH: Final = 32
"""Largest batch size to try. Larger batches make small networks hardly faster
(docs/performance.md)."""

DELAYS_MS: Final = (2, 10)
MAX_CONNECTIONS: Final = 64
MAX_DEVIATION: Final = 0.1
"""Two successive windows agree if their rates differ by no more than this share."""

EQUAL_WITHIN: Final = 0.05
"""Rates that differ by no more than this share count as equal: the smaller settings win."""

_MAX_WINDOWS: Final = 5
_MIN_GROWTH: Final = 0.03


# The names of all fields below are keys of the JSON of `mms tune --json`.
@dataclass(frozen=True)
class Candidate:
    """Settings of a model to measure."""

    workers: int
    max_batch_size: int
    max_batch_delay_ms: int = 0


@dataclass(frozen=True)
class Window:
    """One measurement: answers per second, percentiles of latency, and failed requests."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    failed: int = 0


@dataclass(frozen=True)
class Measurement:
    """Result of a candidate with a number of connections, each with one request in flight.

    ``stable`` is true if two successive windows agreed.
    """

    candidate: Candidate
    connections: int
    window: Window
    stable: bool


def list_candidates(cores: int, current: Candidate) -> list[Candidate]:
    """Return the current settings, then each number of workers with each batch size, once."""
    workers = sorted({cores, max(cores // 2, 1)}, reverse=True)
    batch_sizes = (1, DEFAULT_BATCH, LARGE_BATCH)
    tried = [current, *(Candidate(count, size) for count in workers for size in batch_sizes)]
    return list(dict.fromkeys(tried))


def add_delays(fastest: Candidate) -> list[Candidate]:
    """Return the fastest candidate with each batch delay; none if it has no batches."""
    if fastest.max_batch_size == 1:
        return []
    tried = [replace(fastest, max_batch_delay_ms=delay) for delay in DELAYS_MS]
    return [candidate for candidate in tried if candidate != fastest]


def measure_candidate(
    candidate: Candidate, p99_ms: float, measure_window: Callable[[int], Window]
) -> list[Measurement]:
    """Return the measurements of a candidate with 1, 2, 4 ... connections.

    The last one has a 99th percentile over the limit or a failed request, or its rate is less than
    3 % above that with half as many connections.
    """
    measurements: list[Measurement] = []
    connections = 1
    while connections <= MAX_CONNECTIONS:
        measurements.append(measure_until_stable(candidate, connections, measure_window))
        last = measurements[-1].window
        if last.failed or last.p99_ms > p99_ms:
            break
        if len(measurements) > 1:
            previous = measurements[-2].window
            if last.requests_per_s < (1 + _MIN_GROWTH) * previous.requests_per_s:
                break
        connections *= 2
    return measurements


def measure_until_stable(
    candidate: Candidate, connections: int, measure_window: Callable[[int], Window]
) -> Measurement:
    """Measure until two successive windows agree, at most five windows.

    The result has the lower rate and the higher latencies of the last two windows.
    """
    previous = measure_window(connections)
    for _ in range(_MAX_WINDOWS - 1):
        last = measure_window(connections)
        fastest = max(previous.requests_per_s, last.requests_per_s)
        agree = abs(previous.requests_per_s - last.requests_per_s) <= MAX_DEVIATION * fastest
        worst = Window(
            min(previous.requests_per_s, last.requests_per_s),
            max(previous.p50_ms, last.p50_ms),
            max(previous.p99_ms, last.p99_ms),
            previous.failed + last.failed,
        )
        if agree or worst.failed:
            return Measurement(candidate, connections, worst, agree)
        previous = last
    return Measurement(candidate, connections, worst, stable=False)


def select_best(measurements: Sequence[Measurement], p99_ms: float) -> Measurement | None:
    """Return the fastest stable measurement within the limit; None if there is none.

    Of equally fast ones, that with the fewest workers wins, then the smallest batches, the shortest
    delay, and the fewest connections. Workers cost memory, and a batch that fails affects all of
    its requests.
    """
    valid = [
        each
        for each in measurements
        if each.stable and not each.window.failed and each.window.p99_ms <= p99_ms
    ]
    if not valid:
        return None
    fastest = max(each.window.requests_per_s for each in valid)
    equal = [each for each in valid if each.window.requests_per_s >= (1 - EQUAL_WITHIN) * fastest]
    return min(equal, key=lambda each: (*astuple(each.candidate), each.connections))
