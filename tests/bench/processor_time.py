"""The CPU time of a request, by process: ``python -m tests.bench.processor_time``.

It compares the cost of a request through nginx with the cost of its picture in the bare loop, which
has all cores. The difference separates the server from the raw limit. Measurements of the limit
alternate with runs of the server; the CPU times are measured in later runs. Each figure is a
median.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from typing import Final

from mms_server.config import backend_names, cpu_count
from tests.bench import measure, models
from tests.bench.report import BUILD, say
from tests.fixtures.servers import ROOT

_WHO: Final = ("workers", "nginx", "client")
_HEAD: Final = (
    "| model | engine | connections | requests/s | of L | ms of a core in the bare loop "
    "| workers | nginx | client | idle or other processes |"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.processor_time")
    parser.add_argument("--models", nargs="+", choices=models.NAMES, default=["resnet18_v1"])
    parser.add_argument("--connections", nargs="+", type=int, default=[8, 32], metavar="N")
    parser.add_argument("--runs", type=int, default=3, metavar="N")
    parser.add_argument("--window-s", type=float, default=10.0, metavar="S")
    parser.add_argument("--engine", choices=backend_names.TOLERANCES, default=backend_names.MXNET)
    options = parser.parse_args(argv)
    count = cpu_count.of_this_host()
    subjects = models.subjects(BUILD / "models", ROOT / "build/models", image_kb=10)
    effort = measure.Effort(
        options.connections, options.runs, options.window_s, seed=1, engine=options.engine
    )
    rows = [_HEAD, "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|"]
    with measure.behind_nginx(effort, say) as bench:
        for subject in subjects:
            if subject.name in options.models:
                with bench.serving(subject) as one:
                    rows += _rows(one, subject.name, effort, count)
    print("\n".join(rows))  # noqa: T201 - a program's output
    return 0


def _rows(one: measure.Measured, model: str, effort: measure.Effort, count: int) -> list[str]:
    limit = statistics.median(row.limit_per_s for row in one.closed())
    rows = []
    for connections in effort.connections:
        runs = [one.took_ms(connections) for _ in range(effort.runs)]
        rate = statistics.median(rate for rate, _took in runs)
        took = [statistics.median(each[who] for _rate, each in runs) for who in _WHO]
        cells = [1000 * count / limit, *took, 1000 * count / rate - sum(took)]
        told = " | ".join(f"{cell:.2f}" for cell in cells)
        rows.append(
            f"| {model} | {effort.engine} | {connections} | {rate:.1f} | {rate / limit:.2f} "
            f"| {told} |"
        )
    return rows


if __name__ == "__main__":
    sys.exit(main())
