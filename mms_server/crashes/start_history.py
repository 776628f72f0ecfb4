"""The failed starts of a release's master, and the wait before the next start.

systemd 252 restarts a failing service after a constant time, for ever. So a process that is to
become the master reads here how many starts failed, and waits first.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from mms_server.core.untrusted_files import read_bounded, replace_group_file
from mms_server.crashes.backoff import wait_s

FORGET_S: Final = 600.0
"""Older failures are forgotten: their cause may be gone."""

STEADY_S: Final = 60.0
"""A master that was ready for this long did not fail to start, however it ended."""

_MAX_BYTES: Final = 4096


@dataclass(frozen=True)
class StartHistory:
    """The file's content; times are in seconds since the epoch, 0 for never.

    ``failures`` counts successive starts that ended early without being told to. ``begun`` is the
    time of the last start, ``ready`` when its master was ready, ``ended`` when it ended as it was
    told to. ``next`` is when a waiting start goes on.
    """

    failures: int = 0
    begun: float = 0.0
    ready: float = 0.0
    ended: float = 0.0
    next: float = 0.0

    def again(self, now: float) -> StartHistory:
        """Return the history for a start at ``now``, which waits until ``next``."""
        failures = self._failures(now)
        wait = wait_s(failures - 1, 1.0) if failures else 0.0
        return StartHistory(failures, now, next=now + wait)

    def unasked(self) -> bool:
        """Return whether the last start ended without being told to."""
        return bool(self.begun) and not self.ended

    def _failures(self, now: float) -> int:
        if not self.unasked() or not 0 <= now - self.begun <= FORGET_S:
            return 0
        # If it was killed, its end is not known: count until this start.
        steady = self.ready and now - self.ready >= STEADY_S
        return 1 if steady else self.failures + 1


def read(path: Path) -> StartHistory:
    """Return the file's content; an empty history if the file is missing or damaged."""
    try:
        found = json.loads(read_bounded(path, _MAX_BYTES) or b"{}")
        failures = int(found.pop("failures", 0))
        return StartHistory(failures, **{name: float(value) for name, value in found.items()})
    except (ValueError, TypeError, AttributeError, OverflowError):
        return StartHistory()


def write(path: Path, starts: StartHistory) -> None:
    """Write the file.

    Raises:
        OSError: it cannot be written.
    """
    replace_group_file(path, json.dumps(vars(starts)).encode())


def note_ready(path: Path) -> None:
    """Note that the master is ready.

    Raises:
        OSError: the file cannot be written.
    """
    write(path, replace(read(path), ready=time.time()))


def note_end(path: Path) -> None:
    """Note that the master ends as it was told to.

    Raises:
        OSError: the file cannot be written.
    """
    write(path, replace(read(path), ended=time.time()))
