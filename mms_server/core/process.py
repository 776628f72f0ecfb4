"""Run another program: its output as text, nothing to read for it, and an end in any case."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence


def run(
    command: Sequence[str], timeout_s: float, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Return how the command ended, whatever its exit code.

    Raises:
        subprocess.TimeoutExpired: it did not end in time, and was killed.
        OSError: it cannot be run.
    """
    return subprocess.run(
        command,
        capture_output=True,
        check=False,
        encoding="utf-8",
        errors="replace",
        stdin=subprocess.DEVNULL,
        timeout=timeout_s,
        env=env,
    )
