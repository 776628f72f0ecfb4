"""A model is swapped many times under load: no request fails, no answer mixes two versions."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import lab
from tests.integration import changes
from tests.integration.load import Load, Report, Request

SWAPS = int(os.environ.get("MMS_SWAPS", "200"))
COLD, WARM = SWAPS // 10, SWAPS - SWAPS // 10
"""The numbers of swaps that load the model, and of swaps to a warm release."""

QUIET_S = 10.0
QUIET_EVERY = 10

Span = tuple[float, float]


def within(report: Report, spans: list[Span]) -> Report:
    """Return the answers to requests in flight in one of these spans of the monotonic clock."""
    return Report(
        [
            answer
            for answer in report.answers
            if any(
                begin <= answer.started + answer.seconds and answer.started <= end
                for begin, end in spans
            )
        ]
    )


@pytest.mark.soak
@pytest.mark.fleet
@pytest.mark.timeout(5400)
@pytest.mark.parametrize(("swaps", "keep_warm_s"), [(COLD, 0), (WARM, 3600)], ids=["cold", "warm"])
def test_swaps_lose_nothing_and_disturb_no_other_model(
    last: lab.Machine,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
    swaps: int,
    keep_warm_s: int,
) -> None:
    words = changes.variant(tmp_path / "words.model", changes.in_words)
    plain = changes.variant(tmp_path / "plain.model", lambda _members: None)
    rest = f"--workers\n1\n\n[Model Settings]\ndigits.keep_warm_s={keep_warm_s}\n"
    confs = [
        changes.put(last, name, {"digits": archive, "other": plain}, rest)
        for name, archive in (("plain", plain), ("words", words))
    ]
    changes.applied(last, confs[0])
    if keep_warm_s:
        changes.applied(last, confs[1])
        changes.applied(last, confs[0])
    digits = Request.of_image(last.address, "digits", lab.SEVEN, changes.a_seven)
    other = Request.of_image(last.address, "other", lab.SEVEN, "7")
    quiet, busy = list[Span](), list[Span]()
    with Load([digits]) as load, Load([other], busy=1, idle=0) as beside:
        for turn in range(1, swaps + 1):
            # In turns, so that other work on the machine affects both equally.
            if turn % QUIET_EVERY == 1:
                load.wait_for_answers(20)
                began = time.monotonic()
                time.sleep(QUIET_S)
                quiet.append((began, time.monotonic()))
            began = time.monotonic()
            changes.applied(last, confs[turn % 2])
            busy.append((began, time.monotonic()))
        load.wait_for_answers(20)
    p99_quiet = within(beside.report, quiet).percentile_ms(0.99)
    p99_during = within(beside.report, busy).percentile_ms(0.99)
    figures = {
        "swaps": swaps,
        "seconds a swap": round(sum(end - begin for begin, end in busy) / swaps, 2),
        "load": str(load.report),
        "the other model": str(beside.report),
        "p99 of the other model, quiet": round(p99_quiet, 1),
        "p99 of the other model, during swaps": round(p99_during, 1),
    }
    for name, value in figures.items():
        record_property(name, value)
    assert not load.report.failed, load.report
    assert not load.report.wrong, load.report
    assert not beside.report.failed, beside.report
    assert not beside.report.wrong, beside.report
    assert p99_during <= 1.5 * p99_quiet, figures
