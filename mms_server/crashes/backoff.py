"""Backoff of a crash loop: the wait before a crashed process is started again.

After the first few crashes there is no wait: a worker is forked within milliseconds. If the crashes
go on, each wait is twice as long as the one before, up to half a minute. So a crash loop leaves the
CPU to the other models.
"""

from __future__ import annotations

from typing import Final

LONGEST_S: Final = 30.0
FREE_DEATHS: Final = 3
"""Early crashes of workers within a window that have no wait."""

EARLY_S: Final = 10.0
"""A worker that lived for less time has crashed early."""

WINDOW_S: Final = 60.0
_FIRST_S: Final = 0.5


class CrashBackoff:
    """Decides when a master may start its next worker; times are in seconds of one clock."""

    def __init__(self) -> None:
        self._early: list[float] = []
        self._until = 0.0

    def died(self, now: float, lived_s: float) -> None:
        """Note a crash."""
        self._early = [at for at in self._early if now - at < WINDOW_S]
        if lived_s >= EARLY_S:
            return
        self._early.append(now)
        over = len(self._early) - FREE_DEATHS
        if over > 0:
            self._until = now + wait_s(over - 1)

    def left(self, now: float) -> float:
        """Return the seconds until a worker may be started, 0 if one may be started now."""
        return max(self._until - now, 0.0)


def wait_s(before: int, first_s: float = _FIRST_S) -> float:
    """Return the wait after ``before`` earlier waits: each is twice as long, up to the limit."""
    return min(first_s * 2.0 ** min(before, 16), LONGEST_S)
