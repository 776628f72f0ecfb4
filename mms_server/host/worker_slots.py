"""Worker slots: small numbers that a respawned worker takes over (compatibility.md, 13).

A worker's metric files are named by its slot, so that the files of a crash loop do not pile up. A
worker's GPU follows from its slot.
"""

from __future__ import annotations

from collections.abc import Hashable


class WorkerSlots:
    """The slots of a master's live workers, kept in the master."""

    def __init__(self) -> None:
        self._slots: dict[Hashable, int] = {}

    def take(self, worker: Hashable) -> int:
        """Return the worker's slot: the lowest that no live worker has."""
        if worker not in self._slots:
            used = set(self._slots.values())
            self._slots[worker] = next(n for n in range(len(used) + 1) if n not in used)
        return self._slots[worker]

    def free(self, worker: Hashable) -> None:
        """Free the slot of a worker that has ended."""
        self._slots.pop(worker, None)
