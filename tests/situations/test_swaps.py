"""A model is swapped again and again under load: no request fails, no answer is of two versions."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import lab
from tests.situations import changes
from tests.situations.load import Load, Report, Request

QUIET_S = 15.0


def p99_ms(report: Report) -> float:
    """Return the 99th percentile of the latency in milliseconds."""
    return report.percentile_ms(0.99)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_swaps_lose_nothing_and_disturb_no_other_model(
    last: lab.Machine,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    words = changes.variant(tmp_path / "words.model", changes.in_words)
    plain = changes.variant(tmp_path / "plain.model", lambda _members: None)
    confs = [
        changes.put(last, name, {"digits": archive, "other": plain}, "--workers\n1\n")
        for name, archive in (("plain", plain), ("words", words))
    ]
    changes.applied(last, confs[0])
    digits = Request.of_image(last.address, "digits", lab.SEVEN, changes.a_seven)
    other = Request.of_image(last.address, "other", lab.SEVEN, "7")
    with Load([digits]) as load, Load([other], busy=1, idle=0) as beside:
        time.sleep(QUIET_S)
        quiet = Report(list(beside.report.answers))
        seen = len(beside.report.answers)
        swaps = 200
        began = time.monotonic()
        for turn in range(1, swaps + 1):
            changes.applied(last, confs[turn % 2])
        took = time.monotonic() - began
        during = Report(beside.report.answers[seen:])
        load.wait_for_answers(20)
    figures = {
        "swaps": swaps,
        "seconds a swap": round(took / swaps, 2),
        "load": str(load.report),
        "p99 of the other model, quiet": round(p99_ms(quiet)),
        "p99 of the other model, during swaps": round(p99_ms(during)),
    }
    for name, value in figures.items():
        record_property(name, value)
    assert not load.report.failed, load.report
    assert not load.report.wrong, load.report
    assert not beside.report.failed, beside.report
    assert not beside.report.wrong, beside.report
    assert p99_ms(during) <= 1.5 * p99_ms(quiet), figures
