"""Small numbers for workers: a respawned worker takes the dead one's (contract, section 13).

What is counted per worker is kept under its slot, so that the files of a crash loop do not pile up;
a worker's GPU follows from its slot.
"""

from __future__ import annotations

from collections.abc import Hashable


class WorkerSlots:
    """The slots of a master's living workers; lives in the master."""

    def __init__(self) -> None:
        self._taken: dict[Hashable, int] = {}

    def take(self, worker: Hashable) -> int:
        """Return the worker's slot: the lowest that no living worker has."""
        if worker not in self._taken:
            used = set(self._taken.values())
            self._taken[worker] = next(n for n in range(len(used) + 1) if n not in used)
        return self._taken[worker]

    def free(self, worker: Hashable) -> None:
        """Give back the slot of a worker that has ended."""
        self._taken.pop(worker, None)
