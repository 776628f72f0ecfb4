"""The duration of each stage of a prediction (compatibility.md, 11).

Services call :func:`stage`. The server calls :func:`collecting` around the prediction. Outside of
it :func:`stage` records nothing, so service classes also work without a server.
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

ENVIRON_KEY: Final = "mms.stages"
"""The key of a request's stages in its WSGI environment."""

Clock = Callable[[], float]


class Stages:
    """The seconds of each stage of one prediction; a stage that did not run is absent."""

    def __init__(self, clock: Clock = time.perf_counter) -> None:
        self.clock = clock
        self.seconds: dict[str, float] = {}

    def add(self, name: str, seconds: float) -> None:
        """Add to a stage: if it runs twice in a prediction, both durations count."""
        self.seconds[name] = self.seconds.get(name, 0.0) + max(seconds, 0.0)


class _Current(threading.local):
    """The stages of the prediction that this thread computes."""

    stages: Stages | None = None


_current = _Current()


@contextmanager
def collecting(stages: Stages) -> Iterator[None]:
    """Record in ``stages`` the stages that this thread runs within the context."""
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
    """Add seconds that a service measured itself to a stage of this thread's prediction."""
    if _current.stages is not None:
        _current.stages.add(name, seconds)


def server_timing(seconds: Mapping[str, float]) -> str:
    """Return the value of the header ``Server-Timing``: each stage that ran, in milliseconds."""
    names = [name for name in STAGES if name in seconds]
    return ", ".join(f"{name};dur={seconds[name] * 1000:.3f}" for name in names)
