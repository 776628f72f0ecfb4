"""What is tried, when a measurement counts, and what is best. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Final

from mms_server.config.model_settings import DEFAULT_BATCH

LARGE_BATCH: Final = 32
"""Beyond it, small networks gain next to nothing: docs/performance.md."""

DELAYS_MS: Final = (2, 10)
MOST_CONNECTIONS: Final = 64
STABLE: Final = 0.1
"""Two windows that follow each other agree if their rates are no further apart."""

SAME: Final = 0.05
"""Rates that are closer count as equal: then the smaller settings win."""

_MOST_WINDOWS: Final = 5
_GROWS: Final = 0.03


@dataclass(frozen=True)
class Candidate:
    """Settings of one model that are tried."""

    workers: int
    max_batch_size: int
    max_batch_delay_ms: int = 0


@dataclass(frozen=True)
class Window:
    """What clients saw for a while: answers a second, milliseconds, requests that failed."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    failed: int = 0


@dataclass(frozen=True)
class Measurement:
    """A candidate under so many connections, each with one request under way.

    ``stable`` says that two windows agreed.
    """

    candidate: Candidate
    connections: int
    window: Window
    stable: bool


def candidates(cores: int, serves: Candidate) -> list[Candidate]:
    """Return what is tried: what serves now, then each number of workers with each batch."""
    workers = sorted({cores, max(cores // 2, 1)}, reverse=True)
    batches = (1, DEFAULT_BATCH, LARGE_BATCH)
    tried = [serves, *(Candidate(each, size) for each in workers for size in batches)]
    return list(dict.fromkeys(tried))


def delayed(fastest: Candidate) -> list[Candidate]:
    """Return what is tried after the best of those: the same, with batches that wait for more."""
    if fastest.max_batch_size == 1:
        return []
    tried = [replace(fastest, max_batch_delay_ms=delay) for delay in DELAYS_MS]
    return [each for each in tried if each != fastest]


def climb(candidate: Candidate, p99_ms: float, look: Callable[[int], Window]) -> list[Measurement]:
    """Return a candidate's measurements at 1, 2, 4 ... connections.

    It ends where the 99th percentile is over the limit, or twice as many connections bring no more.
    """
    found: list[Measurement] = []
    connections = 1
    while connections <= MOST_CONNECTIONS:
        found.append(settled(candidate, connections, look))
        last = found[-1].window
        if last.failed or last.p99_ms > p99_ms:
            break
        if len(found) > 1:
            before = found[-2].window.requests_per_s
            if last.requests_per_s < (1 + _GROWS) * before:
                break
        connections *= 2
    return found


def settled(candidate: Candidate, connections: int, look: Callable[[int], Window]) -> Measurement:
    """Measure until two windows agree, and return the slower and the later of them in one."""
    before = look(connections)
    for _ in range(_MOST_WINDOWS - 1):
        now = look(connections)
        fast = max(before.requests_per_s, now.requests_per_s)
        agree = abs(before.requests_per_s - now.requests_per_s) <= STABLE * fast
        both = Window(
            min(before.requests_per_s, now.requests_per_s),
            max(before.p50_ms, now.p50_ms),
            max(before.p99_ms, now.p99_ms),
            before.failed + now.failed,
        )
        if agree or both.failed:
            return Measurement(candidate, connections, both, agree)
        before = now
    return Measurement(candidate, connections, both, stable=False)


def best(found: Sequence[Measurement], p99_ms: float) -> Measurement | None:
    """Return the fastest measurement within the limit, None if there is none.

    Of equal ones that with the fewest workers, then the smallest batches, then the shortest delay,
    then the fewest connections: workers cost memory, and a batch costs all of its requests if it
    fails.
    """
    good = [
        each
        for each in found
        if each.stable and not each.window.failed and each.window.p99_ms <= p99_ms
    ]
    if not good:
        return None
    fastest = max(each.window.requests_per_s for each in good)
    level = [each for each in good if each.window.requests_per_s >= (1 - SAME) * fastest]
    return min(
        level,
        key=lambda one: (*astuple(one.candidate), one.connections),
    )
