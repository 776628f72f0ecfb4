"""Read the crash files of releases: the crash of a client's request, and crash loops.

A model's code can write these files too. So only small facts are taken from them, and a caller
waits for at most a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mms_server.core.paths import Layout
from mms_server.crashes import crash_history, start_history
from mms_server.crashes.report import ID
from mms_server.host.instance_files import InstanceFiles

WAIT_S: Final = 1.0
"""Longest wait for a certificate: nginx notices a crash a moment before the master does."""

_STEP_S: Final = 0.05


@dataclass(frozen=True)
class Lookup:
    """Finds certificates of requests; ``sleep`` and ``clock`` are for tests."""

    layout: Layout
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def certificate(self, request_id: str) -> str:
        """Return the id of the certificate that names a request, empty if none appears in time."""
        if not request_id:
            return ""
        deadline = self.clock() + WAIT_S
        while True:
            for directory in self._instances():
                found = crash_history.read(InstanceFiles(directory).recent).of_request(request_id)
                if ID.fullmatch(found):
                    return found
            if self.clock() >= deadline:
                return ""
            self.sleep(_STEP_S)

    def _instances(self) -> list[Path]:
        try:
            return sorted(self.layout.instances.iterdir())
        except OSError:
            return []


def trouble(layout: Layout, release_id: str, now: float) -> str:
    """Return why a release does not serve, as text; ``now`` is in seconds since the epoch."""
    instance_files = InstanceFiles(layout.instance(release_id))
    begun = start_history.read(instance_files.starts)
    known = crash_history.read(instance_files.recent)
    if begun.failures and not begun.ready:
        wait = f", the next goes on in {begun.next - now:.0f} s" if begun.next > now else ""
        return f"crash loop: {begun.failures} starts in a row failed{wait}"
    if known.paused_until > now:
        last = known.deaths[-1] if known.deaths else None
        named = f", the last of {last.signal or last.cause} ({last.id})" if last else ""
        wait_s = known.paused_until - now
        return f"crash loop: its workers die early{named}; the next starts in {wait_s:.0f} s"
    return ""
