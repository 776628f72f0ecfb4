"""How long each stage of a prediction took (contract, section 11).

Services call :func:`stage`; whoever wants to know calls :func:`collecting` around the prediction.
Nothing is recorded outside of it, so service classes also work without a server.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

QUEUE: Final = "queue"
PREPROCESS: Final = "preprocess"
INFERENCE: Final = "inference"
POSTPROCESS: Final = "postprocess"
STAGES: Final = (QUEUE, PREPROCESS, INFERENCE, POSTPROCESS)

KEY: Final = "mms.stages"
"""Where the environment keeps the stages of a request."""

Clock = Callable[[], float]


class Stages:
    """Seconds by stage of one prediction; a stage that did not happen is not there."""

    def __init__(self, clock: Clock = time.perf_counter) -> None:
        self.clock = clock
        self.seconds: dict[str, float] = {}

    def add(self, name: str, seconds: float) -> None:
        """Add to a stage: one that happens twice in a prediction counts twice."""
        self.seconds[name] = self.seconds.get(name, 0.0) + max(seconds, 0.0)


class _Current(threading.local):
    """The prediction that this thread computes."""

    stages: Stages | None = None


_current = _Current()


@contextmanager
def collecting(stages: Stages) -> Iterator[None]:
    """Record the stages of this thread's work in ``stages``."""
    before, _current.stages = _current.stages, stages
    try:
        yield
    finally:
        _current.stages = before


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Time a stage of the prediction that this thread computes."""
    stages = _current.stages
    if stages is None:
        yield
        return
    started = stages.clock()
    try:
        yield
    finally:
        stages.add(name, stages.clock() - started)


def record(name: str, seconds: float) -> None:
    """Add seconds that a service measured itself to the prediction that this thread computes."""
    if _current.stages is not None:
        _current.stages.add(name, seconds)


def server_timing(seconds: Mapping[str, float]) -> str:
    """Return the value of ``Server-Timing``: each stage that happened, in milliseconds."""
    known = [name for name in STAGES if name in seconds]
    return ", ".join(f"{name};dur={seconds[name] * 1000:.3f}" for name in known)
