"""The benchmark: this server compared with the raw limit of its models (``python -m tests.bench``).

Each figure is the median of the runs. Runs of the server and of the bare loop alternate, so that a
noisy neighbour affects both. Answers are checked, and failures are counted. Standard output gets
the table, ``build/bench.json`` all data.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mms_server.config import backend_names, cpu_count
from mms_server.config.model_settings import DEFAULT_BATCH
from tests.bench import figures, measure, models, report
from tests.bench.figures import Row
from tests.bench.peers import contest, environments
from tests.bench.peers.systems import PEERS
from tests.bench.report import BUILD, say
from tests.fixtures.servers import ROOT

_LEAST_RUNS = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write; return 1 if an answer was wrong or missing."""
    options = _parser().parse_args(argv)
    subjects = models.subjects(BUILD / "models", ROOT / "build/models", options.image_kb)
    if options.peers:
        # The exporter of 0.4: all servers read its archives.
        subjects = models.shared(subjects, environments.original(), BUILD / "shared")
    chosen = [one for one in subjects if not options.models or one.name in options.models]
    effort = measure.Effort(
        options.connections,
        options.runs,
        options.window_s,
        options.seed,
        options.max_batch_size,
        options.engine,
    )
    rows: list[Row] = []
    opened: list[dict[str, Any]] = []
    updated: list[contest.Updated] = []
    with measure.behind_nginx(effort, say) as bench:
        for subject in chosen:
            say(subject.name)
            workers, place = cpu_count.of_this_host(), bench.place / subject.name
            with (
                bench.serving(subject) as one,
                contest.serving(options.peers, subject, place, workers, bench.found) as peers,
            ):
                others = contest.contestants(peers, one.target.top, say)
                rows += one.closed(others)
                opened += one.opened()
                for peer in peers:
                    say(f"  update of {peer.name}")
                    updated.append(contest.update(peer))
    tables = [figures.table(rows)]
    tables += [figures.open_table(opened)] if opened else []
    tables += [contest.table(updated)] if updated else []
    print("\n\n".join(tables))  # noqa: T201 - a program's output
    found_out = {
        "versions": _versions(),
        "rows": [dataclasses.asdict(row) for row in rows],
        "open_loop": opened,
        "updates": [dataclasses.asdict(row) for row in updated],
    }
    report.write(found_out, options.output)
    return 1 if any(row.failed for row in rows if row.system == measure.SYSTEM) else 0


def _versions() -> dict[str, str]:
    wanted = ("mms-hosts", "mxnet", "numpy", "gunicorn", "gevent", "bottle", "pillow")
    return {name: importlib.metadata.version(name) for name in wanted}


def _runs(text: str) -> int:
    if int(text) < _LEAST_RUNS:
        raise argparse.ArgumentTypeError(f"a median takes at least {_LEAST_RUNS} runs, not {text}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    add: Callable[..., Any] = parser.add_argument
    add("--models", nargs="+", choices=models.NAMES, metavar="NAME", help="only these")
    add("--connections", nargs="+", type=int, default=[1, 8, 32], metavar="N")
    add("--runs", type=_runs, default=3, help="each figure is their median (default: %(default)s)")
    add("--window-s", type=float, default=2.0, metavar="S", help="length of a run (%(default)s)")
    add("--image-kb", type=int, default=10, metavar="KB", help="size of the picture (%(default)s)")
    add("--seed", type=int, default=1, help="of the open loop's arrivals (%(default)s)")
    add("--max-batch-size", type=int, default=DEFAULT_BATCH, metavar="N", help="(%(default)s)")
    add(
        "--engine",
        choices=backend_names.TOLERANCES,
        default=backend_names.MXNET,
        help="(%(default)s)",
    )
    about = "beside these, installed at the first run (%(choices)s)"
    add("--peers", nargs="*", choices=PEERS, default=[], metavar="PEER", help=about)
    add("--output", type=Path, default=ROOT / "build/bench.json", metavar="FILE")
    return parser


if __name__ == "__main__":
    sys.exit(main())
