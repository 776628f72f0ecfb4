"""The length of a release's backlog: as many requests as it answers within their time limit.

A worker refuses a request that would miss its time limit (``request_timeout_ms``) when it takes the
request from the queue, after the client has waited. So the backlog is only as long as the workers
can answer in time. When the backlog is full, the kernel refuses further requests at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from mms_server.overload.deadline import ServiceRate

FILLED: Final = 0.6
"""Share of the time limit that requests in a full backlog wait: the speed of workers varies.

With 0.8 some requests waited and were late all the same. At three times the load that the workers
can answer, that cost a twentieth of the right answers (``python -m tests.bench.overload``).
"""

CHANGED: Final = 0.1
"""A change of the limit by a smaller share is not worth a system call."""


def backlog_for(rate: float, limit_s: float, most: int) -> int:
    """Return the length of the backlog if ``rate`` requests are answered in a second.

    It is ``most`` if the rate is not known. ``limit_s`` is the time limit of a request, 0 for none.
    """
    if not limit_s or not rate:
        return most
    return min(max(int(FILLED * limit_s * rate), 1), most)


class BacklogLimit:
    """The limit of the backlog by the speed of one worker; ``workers`` share the backlog."""

    def __init__(self, most: int, limit_s: float, workers: int) -> None:
        self._most = most
        self._limit_s = limit_s
        self._service_rate = ServiceRate(workers)
        self._set = most

    def record(self, requests: int, seconds: float) -> int | None:
        """Record how long the worker took for a number of requests.

        Return the new limit, or None if the limit stays.
        """
        if not self._limit_s or not requests:
            return None
        self._service_rate.computed(seconds / requests)
        wanted = backlog_for(self._service_rate.rate, self._limit_s, self._most)
        if abs(wanted - self._set) <= CHANGED * self._set:
            return None
        self._set = wanted
        return wanted


def set_backlog(sockets: Iterable[Any], most: int) -> None:
    """Let the kernel queue up to ``most`` connections on each socket.

    The kernel refuses further connections at once (EAGAIN, which nginx answers). It queues one more
    than the number that ``listen`` gets.
    """
    for each in sockets:
        each.listen(most - 1)
