"""The memory of one more worker: ``python -m tests.bench.worker_memory``.

A release is served by one, two and three workers, which each answer some dozen requests. Memory is
the PSS of its processes: a page that several share counts once.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mms_server.config.model_settings import DEFAULT_BATCH
from tests.bench import models, processes, releases
from tests.fixtures.servers import ROOT, multipart, release_server, until, write_release

_WORKERS = (1, 2, 3)
_REQUESTS_EACH = 24
_START_LIMIT_S = 60.0


def main(argv: Sequence[str] | None = None) -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.worker_memory")
    parser.add_argument("--models", nargs="+", choices=models.NAMES, default=list(models.NAMES))
    parser.add_argument("--max-batch-size", type=int, default=DEFAULT_BATCH, metavar="N")
    options = parser.parse_args(argv)
    subjects = models.subjects(ROOT / "build/bench/models", ROOT / "build/models", image_kb=10)
    rows = ["| model | 1 worker, PSS MiB | 2 | 3 | one more |", "|---|--:|--:|--:|--:|"]
    for subject in subjects:
        if subject.name in options.models:
            found = [_pss_mib(subject, count, options.max_batch_size) for count in _WORKERS]
            more = (found[-1] - found[0]) / (len(found) - 1)
            cells = " | ".join(f"{one:.0f}" for one in [*found, more])
            rows.append(f"| {subject.name} | {cells} |")
    print("\n".join(rows))  # noqa: T201 - a program's output
    return 0


def _pss_mib(subject: models.Subject, workers: int, most: int) -> float:
    body, kind = multipart({"data": ("picture.jpg", "image/jpeg", subject.picture)})
    path, headers = f"/{subject.name}/predict", {"Content-Type": kind}
    with tempfile.TemporaryDirectory(prefix="mms-bench-") as name:
        release = write_release(
            Path(name), subject.archive, model=subject.name, workers=workers, max_batch_size=most
        )
        with release_server(Path(name), release, wait=False) as server:
            until(lambda: releases.is_ready(server, subject.name), _START_LIMIT_S)
            with ThreadPoolExecutor(2 * workers) as threads:
                asked = [
                    threads.submit(server.request, "POST", path, body, headers)
                    for _ in range(_REQUESTS_EACH * workers)
                ]
                if any(each.result().status != 200 for each in asked):
                    raise RuntimeError(f"{subject.name} does not answer")
            return processes.pss_mib([server.process.pid])


if __name__ == "__main__":
    sys.exit(main())
