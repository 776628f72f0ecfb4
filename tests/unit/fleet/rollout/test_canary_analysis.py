"""The gate lets a good change through and stops a bad one, just under and just over each limit."""

from __future__ import annotations

from typing import Any

import pytest

from mms_server.fleet.rollout import canary_analysis
from mms_server.fleet.rollout.canary_analysis import Snapshot, Thresholds, Window

LIMITS = Thresholds(errors=0.01, p99_ratio=1.5, p99_slack_s=0.06, min_requests=20, restarts=0)
BOUNDS = (0.1, 0.2, 0.4, 0.8)


def text(
    good: int = 0,
    bad: int = 0,
    seconds: float = 0.1,
    *,
    slow: int = 0,
    ready: int = 1,
    workers: int = 0,
) -> str:
    """Return what ``/metrics`` says: all took less than ``seconds`` but ``slow`` more, 0.4 s."""
    total = good + bad + slow
    lines = [
        "# TYPE mms_predictions counter",
        f'mms_predictions_total{{model="m",code="200"}} {good + slow}',
        f'mms_predictions_total{{model="m",code="503"}} {bad}',
        "# TYPE mms_prediction_seconds histogram",
        *(
            f'mms_prediction_seconds_bucket{{model="m",le="{bound}"}} '
            f"{(good + bad) * (bound >= seconds) + slow * (bound >= 0.4)}"
            for bound in BOUNDS
        ),
        f'mms_prediction_seconds_bucket{{model="m",le="+Inf"}} {total}',
        "# TYPE mms_worker_restarts counter",
        f'mms_worker_restarts_total{{model="m"}} {workers}',
        "# TYPE mms_model_ready gauge",
        f'mms_model_ready{{model="m"}} {ready}',
    ]
    return "\n".join(lines) + "\n"


def look(*words: Any, restarts: int = 0, release: str = "m.1", **more: Any) -> Snapshot:
    status = {"models": [{"model": "m", "release": release, "restarts": restarts}]}
    return Snapshot(text(*words, **more), status)


def judged(
    canary: Snapshot, other: Snapshot | None, past: Snapshot | None = None
) -> tuple[str, ...]:
    """Return the reasons, if the model was slow in the look before."""
    window = Window(
        past={"a": past} if past else {},
        start={"a": look(), "b": look()},
        now={"a": canary, "b": other or look()},
    )
    return canary_analysis.judge(window, ["a"], LIMITS, ["m"]).reasons


def test_a_change_like_the_rest_passes() -> None:
    assert judged(look(1000), look(1000)) == ()


@pytest.mark.parametrize(("bad", "passes"), [(30, True), (31, False)])
def test_errors_in_addition_to_those_of_the_rest(bad: int, passes: bool) -> None:
    reasons = judged(look(1000 - bad, bad), look(980, 20))
    assert (not reasons) is passes
    if reasons:
        assert reasons == (
            "model m: 3.1% of 1000 answers of the canary are errors, 2.0% on the other hosts.",
        )


@pytest.mark.parametrize(("seconds", "passes"), [(0.2, True), (0.4, False)])
def test_a_slower_model_is_stopped(seconds: float, passes: bool) -> None:
    # The rest: p99 is 99 ms, so at most 208 ms; in the canary's bucket it is 199 ms or 398 ms.
    reasons = judged(look(1000, 0, seconds), look(1000))
    assert (not reasons) is passes
    if reasons:
        assert "p99 of the canary is 398 ms, 99 ms on the other hosts" in reasons[0]


def looks(*canary: Snapshot) -> list[canary_analysis.Verdict]:
    """Return the verdict of each look at the canary; the other host is fast."""
    last = start = {"a": look(), "b": look()}
    verdicts = [canary_analysis.Verdict((), ())]
    for number, each in enumerate(canary, 1):
        now = {"a": each, "b": look(100 * number)}
        suspects = verdicts[-1].suspects
        verdicts.append(
            canary_analysis.judge(Window({}, start, now, last), ["a"], LIMITS, suspects)
        )
        last = now
    return verdicts[1:]


def test_what_is_slow_for_a_moment_is_only_suspected() -> None:
    first, second, third = looks(look(90, slow=10), look(190, slow=10), look(290, slow=20))
    assert (first.reasons, first.suspects) == ((), ("m",))
    assert "p99 360 ms on the canary" in second.figures[0], "still slow, by all answers"
    assert (second.reasons, second.suspects) == ((), ())
    # The first suspicion is forgotten, and the soak asks for one more look because of this one.
    assert (third.reasons, third.suspects) == ((), ("m",))


def test_what_is_slow_twice_in_a_row_is_stopped() -> None:
    quick, first, second = looks(look(100), look(190, slow=10), look(280, slow=20))
    assert not quick.suspects
    assert (first.reasons, first.suspects) == ((), ("m",))
    assert "p99 of the canary is 380 ms, 99 ms on the other hosts" in second.reasons[0]


def test_with_little_traffic_all_answers_since_the_start_are_judged() -> None:
    *_others, last = looks(look(0, slow=10), look(0, slow=19), look(0, slow=20), look(0, slow=21))
    assert "p99 of the canary" in last.reasons[0]


@pytest.mark.parametrize(("count", "passes"), [(19, True), (20, False)])
def test_too_few_answers_are_not_compared(count: int, passes: bool) -> None:
    assert (not judged(look(0, count), look(1000))) is passes


def test_without_traffic_elsewhere_the_own_past_counts() -> None:
    assert judged(look(500, 500), None, past=look(500, 500)) == ()
    reasons = judged(look(500, 500), None, past=look(1000, 0))
    assert "before the change" in reasons[0]


def test_with_nothing_to_compare_with_errors_count_alone() -> None:
    assert "nothing to compare with" in judged(look(500, 500, 0.8), None)[0]
    assert judged(look(1000, 0, 0.8), None) == ()


def test_restarts_of_the_new_release_count_whole() -> None:
    past = look(1000, restarts=5, release="m.1")
    assert judged(look(10, restarts=5, release="m.1"), look(1000), past) == ()
    reasons = judged(look(10, restarts=1, release="m.2"), look(1000), past)
    assert reasons == ("model m: 1 restarts of its processes on the canary.",)


def test_workers_that_died_count() -> None:
    assert "2 restarts" in judged(look(10, workers=2), look(10))[0]


def test_a_model_that_is_not_ready_is_stopped() -> None:
    assert judged(look(10, ready=0), look(10)) == ("model m: it is not ready on a.",)


def test_counters_that_began_anew_count_whole() -> None:
    window = Window({}, {"a": look(5000)}, {"a": look(900, 100)})
    assert "10.0% of 1000 answers" in canary_analysis.judge(window, ["a"], LIMITS).reasons[0]


def test_a_canary_that_was_lost_is_not_judged_here() -> None:
    assert canary_analysis.judge(
        Window({}, {}, {"b": look(10)}), ["a"], LIMITS
    ) == canary_analysis.Verdict((), ())


def test_the_figures_are_words() -> None:
    window = Window({}, {}, {"a": look(1000), "b": look(100)})
    (line,) = canary_analysis.judge(window, ["a"], LIMITS).figures
    assert line == (
        "model m: 1000 answers, 0.0% errors, p99 99 ms on the canary; "
        "100 answers, 0.0% errors, p99 99 ms on the other hosts"
    )
