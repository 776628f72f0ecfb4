"""The number of physical cores that this process may use: the default number of workers."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Final

CPUINFO: Final = Path("/proc/cpuinfo")


def physical_cores(cpuinfo: str, allowed: Collection[int]) -> int:
    """Return the number of physical cores of the ``allowed`` logical CPUs, at least 1.

    ``cpuinfo`` is the text of ``/proc/cpuinfo``. If it names no cores (virtual machines, other
    architectures), each allowed logical CPU counts as one core.
    """
    cores: set[tuple[str, str]] = set()
    seen = 0
    for block in cpuinfo.split("\n\n"):
        pairs = (line.partition(":") for line in block.splitlines())
        facts = {key.strip(): value.strip() for key, _colon, value in pairs}
        processor = facts.get("processor", "")
        if not processor.isdecimal() or int(processor) not in allowed:
            continue
        if "physical id" in facts and "core id" in facts:
            seen += 1
            cores.add((facts["physical id"], facts["core id"]))
    if seen < len(allowed):
        return max(1, len(allowed))
    return max(1, len(cores))


def of_this_host() -> int:
    """Return the number of physical cores that this process may use."""
    allowed = os.sched_getaffinity(0)
    try:
        text = CPUINFO.read_text("utf-8", "replace")
    except OSError:
        text = ""
    return physical_cores(text, allowed)
