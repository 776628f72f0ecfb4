"""The durations of stages are recorded within ``collecting`` only."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mms_server.metrics.stage_timing import INFERENCE, PREPROCESS, Stages, collecting, stage


def ticking(*times: float) -> Stages:
    instants: Iterator[float] = iter(times)
    return Stages(clock=lambda: next(instants))


def test_stages_are_timed_within_collecting() -> None:
    stages = ticking(1.0, 1.5, 2.0, 2.25)
    with collecting(stages):
        with stage(PREPROCESS):
            pass
        with stage(INFERENCE):
            pass
    with stage(INFERENCE):
        pass
    assert stages.seconds == {PREPROCESS: 0.5, INFERENCE: 0.25}


def test_a_stage_that_fails_or_happens_twice_counts() -> None:
    stages = ticking(0.0, 1.0, 5.0, 7.0)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), collecting(stages), stage(INFERENCE):
            assert 1 / 0
    assert stages.seconds == {INFERENCE: 3.0}
