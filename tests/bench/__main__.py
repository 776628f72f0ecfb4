"""Measure this server beside the raw limit of its models: ``python -m tests.bench``.

Each figure is the median of the runs; runs of the server and of the bare loop alternate, so that a
noisy neighbour hits both. Answers are checked, and failures are counted. The table goes to standard
output, all of it to ``build/bench.json``.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import json
import platform
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

from mms_server import cores
from mms_server.release import DEFAULT_BATCH
from tests.bench import edge, figures, measure, models
from tests.bench.figures import Row
from tests.http.servers import ROOT

BUILD = ROOT / "build/bench"
_LEAST_RUNS = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write; return 1 if an answer was wrong or missing."""
    options = _parser().parse_args(argv)
    found = edge.programs(BUILD)
    subjects = models.subjects(BUILD / "models", ROOT / "build/models", options.image_kb)
    chosen = [one for one in subjects if not options.models or one.name in options.models]
    effort = measure.Effort(
        options.connections,
        options.runs,
        options.window_s,
        options.seed,
        options.max_batch_size,
    )
    rows: list[Row] = []
    opened: list[dict[str, Any]] = []
    # Short: a Unix socket's path has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="mms-bench-") as name:
        place, port = Path(name), free_port()
        with edge.nginx(place, port, found) as nginx:
            bench = measure.Bench(place, port, found, nginx.pid, effort, say)
            for subject in chosen:
                say(subject.name)
                with bench.serving(subject) as one:
                    rows += one.closed()
                    opened += one.opened()
    text = figures.table(rows) + ("\n\n" + figures.open_table(opened) if opened else "")
    print(text)  # noqa: T201 - a program's output
    report = {
        "machine": machine(),
        "versions": _versions(),
        "rows": [dataclasses.asdict(row) for row in rows],
        "open_loop": opened,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(report, indent=2) + "\n")
    return 1 if any(row.failed for row in rows) else 0


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    text = Path("/proc/cpuinfo").read_text("utf-8")
    names = [line.partition(": ")[2] for line in text.splitlines() if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.machine(),
        "cores": cores.of_this_host(),
        "memory_mib": psutil.virtual_memory().total // 1024**2,
        "kernel": platform.release(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _versions() -> dict[str, str]:
    wanted = ("mms-hosts", "mxnet", "numpy", "gunicorn", "gevent", "bottle", "pillow")
    return {name: importlib.metadata.version(name) for name in wanted}


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def say(text: str) -> None:
    """Tell how far it is, on standard error."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - progress of a program


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
    add("--output", type=Path, default=ROOT / "build/bench.json", metavar="FILE")
    return parser


if __name__ == "__main__":
    sys.exit(main())
