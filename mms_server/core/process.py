"""Running another program: with a time limit, empty standard input, and its output as text."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence


def run(
    command: Sequence[str], timeout_s: float, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command and return its exit code and its output; any exit code is accepted.

    Raises:
        subprocess.TimeoutExpired: the command did not end within ``timeout_s``, and was killed.
        OSError: the command cannot be run.
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
