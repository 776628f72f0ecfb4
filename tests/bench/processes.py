"""The CPU time and the memory of process trees."""

from __future__ import annotations

from collections.abc import Sequence

import psutil


def processor_s(root: int) -> float:
    """Return the CPU seconds of the live processes of a tree."""
    tree = [psutil.Process(root), *psutil.Process(root).children(recursive=True)]
    return float(sum(one.cpu_times().user + one.cpu_times().system for one in tree))


def pss_mib(roots: Sequence[int]) -> float:
    """Return the memory of process trees; a page that several share counts once."""
    trees = [psutil.Process(pid) for pid in roots]
    trees += [child for root in trees for child in root.children(recursive=True)]
    return float(sum(one.memory_full_info().pss for one in trees)) / 1024**2
