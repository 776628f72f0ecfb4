"""The memory of many small models: ``python -m tests.bench.group_memory``.

Many copies of the digits model are served in three ways: by a release each, by one group, and by
MXNet Model Server 0.4, which has all models in each of its workers. Each model answers once before
the measurement. Memory is the PSS of the processes: a page that several share counts once.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tests.bench import processes, releases
from tests.bench.edge import programs
from tests.bench.peers.peer import Job
from tests.bench.peers.systems import Original
from tests.bench.report import BUILD
from tests.fixtures.servers import (
    ROOT,
    Server,
    multipart,
    release_server,
    until,
    write_group,
    write_release,
)

DIGITS: Final = ROOT / "build/models/digits.model"
SEVEN: Final = ROOT / "build/models/images/seven.jpg"
_START_LIMIT_S: Final = 120.0
_OK: Final = 200


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.group_memory")
    parser.add_argument("--models", nargs="+", type=int, default=[1, 10, 50], metavar="N")
    parser.add_argument("--workers", type=int, default=1, metavar="N")
    options = parser.parse_args(argv)
    ways: dict[str, Callable[[Path, int, int], float]] = {
        "a release each": _alone,
        "one group": _grouped,
        "mms 0.4": _original,
    }
    head = " | ".join(f"{count} models, PSS MiB" for count in options.models)
    print(f"| system | {head} |\n|---|{'--:|' * len(options.models)}")  # noqa: T201 - its output
    for name, way in ways.items():
        cells = []
        for count in options.models:
            with tempfile.TemporaryDirectory(prefix="mms-bench-") as place:
                cells.append(f"{way(Path(place), count, options.workers):.0f}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)  # noqa: T201 - its output
    return 0


def _names(count: int) -> list[str]:
    return [f"digits-{number}" for number in range(count)]


def _ask(server: Server, model: str) -> None:
    body, kind = multipart({"data": ("seven.jpg", "image/jpeg", SEVEN.read_bytes())})
    answer = server.request("POST", f"/{model}/predict", body, {"Content-Type": kind})
    if answer.status != _OK:
        raise RuntimeError(f"{model} does not answer: {answer.body[:200]!r}")


@contextlib.contextmanager
def _ready(server: Server, models: Sequence[str]) -> Iterator[Server]:
    until(lambda: releases.is_ready(server, models[0]), _START_LIMIT_S)
    for model in models:
        _ask(server, model)
    yield server


def _alone(place: Path, count: int, workers: int) -> float:
    with contextlib.ExitStack() as stack:
        pids = []
        for name in _names(count):
            release = write_release(place, DIGITS, model=name, workers=workers)
            server = stack.enter_context(release_server(place, release, wait=False))
            stack.enter_context(_ready(server, [name]))
            pids.append(server.process.pid)
        return processes.pss_mib(pids)


def _grouped(place: Path, count: int, workers: int) -> float:
    release = write_group(place, "small", dict.fromkeys(_names(count), DIGITS), workers=workers)
    with release_server(place, release, wait=False) as server, _ready(server, _names(count)):
        return processes.pss_mib([server.process.pid])


@dataclass
class _Many(Original):
    """MXNet Model Server 0.4 with many models."""

    count: int = 1

    def served(self) -> Sequence[str]:
        return _names(self.count)


def _original(place: Path, count: int, workers: int) -> float:
    job = Job(_names(1)[0], DIGITS, SEVEN.read_bytes(), workers, place, programs(BUILD))
    peer = _Many(job, count=count)
    peer.prepare()
    try:
        peer.start()
        for name in _names(count):
            peer.job = replace(job, name=name)
            peer.wait()
        return processes.pss_mib(peer.pids())
    finally:
        peer.stop()


if __name__ == "__main__":
    sys.exit(main())
