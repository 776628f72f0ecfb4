"""How many requests may wait for a release: as many as it answers before their clients give up.

A model with a time limit (``request_timeout_ms``) refuses what would be late when a worker takes it
from the queue. That is honest, but the client has waited for it. So the queue is made only as long
as the workers are fast, and who comes when it is full is refused by the kernel, at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from mms_server.overload.deadline import ServiceRate

FILLED: Final = 0.6
"""Part of the time limit that a full queue takes: workers are not equally fast all the time.

With 0.8 some of what had waited was late after all, which cost a twentieth of the right answers at
three times what the workers can do, and those clients a wait (``python -m tests.bench.overload``).
"""

CHANGED: Final = 0.1
"""A change of the queue's limit by a smaller part is not worth a call to the kernel."""


def backlog_for(rate: float, limit_s: float, most: int) -> int:
    """Return how many may wait where ``rate`` are answered in a second; ``most`` if not known.

    ``limit_s`` is the time limit of a request, 0 for none.
    """
    if not limit_s or not rate:
        return most
    return min(max(int(FILLED * limit_s * rate), 1), most)


class BacklogLimit:
    """The queue's limit as one worker sees it; ``workers`` share the queue."""

    def __init__(self, most: int, limit_s: float, workers: int) -> None:
        self._most = most
        self._limit_s = limit_s
        self._service_rate = ServiceRate(workers)
        self._set = most

    def record(self, requests: int, seconds: float) -> int | None:
        """Take note of a round of requests that took a worker so long.

        Return the new limit, if the queue's is to be changed.
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
    """Let the kernel take up to ``most`` connections into the queue of each socket.

    It refuses others at once (EAGAIN, which nginx answers), and takes one more than it is told.
    """
    for each in sockets:
        each.listen(most - 1)
