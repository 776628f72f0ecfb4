"""Goodput, the highest rate that is answered in time: ``python -m tests.bench.goodput``.

Requests arrive through nginx as a Poisson process. Latency counts from the planned time. A rate is
answered in time if the 99th percentile of its requests is within a bound: a multiple of the
unloaded latency, at least 50 ms. Refusals, errors and wrong answers count as late. Bisection finds
the highest such rate, and that of an ideal queue: the same number of workers, each as fast as the
raw limit, first come, first served, one picture at a time.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from mms_server.config import backend_names
from tests.bench import figures, measure, models, report
from tests.bench.load import Sent
from tests.bench.report import BUILD, say
from tests.fixtures.servers import ROOT

_TIMES: Final = (3.0, 5.0, 10.0)
_TRIES: Final = 3
_HEAD: Final = (
    "| model | engine | limit L | bound ms | goodput/s | of L | an ideal queue's, of L "
    "| of the ideal |"
)

Meets = Callable[[float], bool]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a table and write it as JSON."""
    options = _parser().parse_args(argv)
    subjects = models.subjects(BUILD / "models", ROOT / "build/models", image_kb=10)
    effort = measure.Effort([1], 3, 4.0, options.seed, engine=options.engine)
    rows: list[dict[str, Any]] = []
    with measure.behind_nginx(effort, say) as bench:
        for subject in subjects:
            if subject.name in options.models:
                with bench.serving(subject) as one:
                    (unloaded,) = one.closed()
                    rows += [_row(one, unloaded, times, options) for times in options.times]
    print(_table(rows))  # noqa: T201 - a program's output
    report.write({"rows": rows}, options.output)
    return 0


def _row(
    one: measure.Measured, unloaded: figures.Row, times: float, options: argparse.Namespace
) -> dict[str, Any]:
    bound_s, limit = figures.bound_s(times, unloaded.p50_ms / 1000), unloaded.limit_per_s

    def answered_in_time(rate: float) -> bool:
        seconds = _p99(one, rate, options)
        say(f"  {rate:.1f}/s: p99 {1000 * seconds:.0f} of {1000 * bound_s:.0f} ms")
        return seconds <= bound_s

    def by_the_ideal(rate: float) -> bool:
        return one.ideal_p99_s(rate) <= bound_s

    return {
        "model": unloaded.model,
        "engine": unloaded.engine,
        "limit_per_s": limit,
        "bound_ms": 1000 * bound_s,
        "goodput_per_s": highest(answered_in_time, limit, options.steps),
        "ideal_per_s": highest(by_the_ideal, limit, options.steps),
    }


def highest(meets: Meets, most: float, steps: int) -> float:
    """Return the highest rate below ``most`` that ``meets`` the bound; 0 if none was found.

    The error is at most ``most`` / 2 ** ``steps``.
    """
    low, high = 0.0, most
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (middle, high) if meets(middle) else (low, middle)
    return low


def p99_s(sent: Sequence[Sent]) -> float:
    """Return the 99th percentile in seconds; a request without a right answer is infinite."""
    return figures.percentile([one.seconds if one.right else math.inf for one in sent], 0.99)


def _p99(one: measure.Measured, rate: float, options: argparse.Namespace) -> float:
    """Return the 99th percentile at a rate.

    Raises:
        RuntimeError: the client could not send in time.
    """
    for number in range(_TRIES):
        sent = one.arrivals(rate, options.seconds, options.seed + number)
        if not figures.is_void([each.late_s for each in sent]):
            return p99_s(sent)
    raise RuntimeError(f"the client could not send {rate:.1f} requests a second in time")


def _table(rows: Sequence[dict[str, Any]]) -> str:
    lines = [_HEAD, "|---|---|--:|--:|--:|--:|--:|--:|"]
    for row in rows:
        limit, good, ideal = row["limit_per_s"], row["goodput_per_s"], row["ideal_per_s"]
        lines.append(
            f"| {row['model']} | {row['engine']} | {limit:.1f} | {row['bound_ms']:.0f} "
            f"| {good:.1f} | {good / limit:.2f} | {ideal / limit:.2f} "
            f"| {good / ideal if ideal else 0:.2f} |"
        )
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.goodput", description=__doc__)
    add: Callable[..., Any] = parser.add_argument
    add("--models", nargs="+", choices=models.NAMES, default=["resnet18_v1"], metavar="NAME")
    add(
        "--engine",
        choices=backend_names.TOLERANCES,
        default=backend_names.MXNET,
        help="(%(default)s)",
    )
    about = "bounds, in unloaded answers (%(default)s)"
    add("--times", nargs="+", type=float, default=_TIMES, metavar="X", help=about)
    add("--seconds", type=float, default=30.0, metavar="S", help="of each rate (%(default)s)")
    add("--steps", type=int, default=6, metavar="N", help="of the bisection (%(default)s)")
    add("--seed", type=int, default=1, help="of the arrivals (%(default)s)")
    add("--output", type=Path, default=ROOT / "build/goodput.json", metavar="FILE")
    return parser


if __name__ == "__main__":
    sys.exit(main())
