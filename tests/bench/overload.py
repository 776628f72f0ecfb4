"""Overload, more requests than a host can answer: ``python -m tests.bench.overload``.

Requests arrive as a Poisson process, at multiples of the model's capacity. Latency counts from the
planned time. An answer is good if it is right and within the model's time limit. The benchmark also
measures the time of a refusal, the time of ``/ping`` during the load, and the memory before and
after it. A run in which more than 1 % of the requests were sent late is void: it would measure its
client. The client shares the machine, so it runs with high CPU priority if it may (as root).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from tests.bench import figures, measure, models, report
from tests.bench.load import Sent, Target, coming_first, exchange, open_loop
from tests.bench.report import BUILD, say
from tests.fixtures.servers import ROOT, control_server

# Enough that no worker is idle, and few enough for the queue of a model with a time limit.
_CONNECTIONS: Final = 8
_REFUSED: Final = 503
_PING_EVERY_S: Final = 0.1
_PING_LIMIT_S: Final = 10.0
_PING: Final = b"GET /ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write; return 1 if an answer was wrong or missing."""
    options = _parser().parse_args(argv)
    subjects = models.subjects(BUILD / "models", ROOT / "build/models", options.image_kb)
    subject = next(one for one in subjects if one.name == options.model)
    effort = measure.Effort([_CONNECTIONS], 1, options.seconds, options.seed)
    with (
        measure.behind_nginx(effort, say) as bench,
        control_server(bench.place),
        bench.serving(subject, request_timeout_ms=options.timeout_ms) as one,
    ):
        capacity = one.rate(_CONNECTIONS, options.capacity_s)
        say(f"{subject.name}: {capacity:.1f} requests a second at most")
        rows = []
        for times in options.times:
            rng = random.Random(options.seed)
            rows.append(_row(one, times, capacity, options, rng))
            say(json.dumps(rows[-1]))
    peak = max(row["good_per_s"] for row in rows)
    print(_table(rows, peak))  # noqa: T201 - a program's output
    found_out = {"model": subject.name, "capacity_per_s": capacity, "rows": rows}
    report.write(found_out, options.output)
    return 1 if any(row["failed"] for row in rows) else 0


def _row(
    one: measure.Measured,
    times: float,
    capacity: float,
    options: argparse.Namespace,
    rng: random.Random,
) -> dict[str, Any]:
    schedule = figures.poisson_schedule(times * capacity, options.seconds, rng)
    before = one.pss_mib()
    with coming_first():
        sent, pings = asyncio.run(_both(one.target, schedule))
    limit_s = options.timeout_ms / 1000
    good = [each for each in sent if each.right and each.seconds <= limit_s]
    refused = [each.seconds for each in sent if each.status == _REFUSED]
    late = sum(each.right for each in sent) - len(good)
    return {
        "times": times,
        "seconds": options.seconds,
        "offered_per_s": len(sent) / options.seconds,
        "good_per_s": len(good) / options.seconds,
        "good_p50_ms": _ms([each.seconds for each in good], 0.5),
        "good_p99_ms": _ms([each.seconds for each in good], 0.99),
        "late": late,
        "refused": len(refused),
        "refused_p50_ms": _ms(refused, 0.5),
        "refused_p99_ms": _ms(refused, 0.99),
        "failed": len(sent) - len(good) - late - len(refused),
        "ping_p99_ms": _ms(pings, 0.99),
        "pss_before_mib": before,
        "pss_after_mib": one.pss_mib(),
        "void": figures.is_void([each.late_s for each in sent]),
    }


async def _both(target: Target, schedule: Sequence[float]) -> tuple[list[Sent], list[float]]:
    """Send the requests, and health requests at the same time; return the pings' seconds too."""
    ended = asyncio.Event()
    pings = asyncio.create_task(_pings(target.port, ended))
    sent = await open_loop(target, schedule)
    ended.set()
    return sent, await pings


async def _pings(port: int, ended: asyncio.Event) -> list[float]:
    loop = asyncio.get_running_loop()
    seconds: list[float] = []
    while not ended.is_set():
        began = loop.time()
        async with asyncio.timeout(_PING_LIMIT_S):
            await exchange(port, _PING)
        seconds.append(loop.time() - began)
        await asyncio.sleep(_PING_EVERY_S)
    return seconds


def _ms(seconds: Sequence[float], share: float) -> float | None:
    return 1000 * figures.percentile(seconds, share) if seconds else None


def _table(rows: Sequence[dict[str, Any]], peak: float) -> str:
    head = (
        "| of capacity | offered/s | good/s | of the peak | good p50, p99 ms | late | refused "
        "| refused p50, p99 ms | failed | ping p99 ms | PSS MiB before, after |"
    )
    lines = [head, "|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"]
    for row in rows:
        void = " (void)" if row["void"] else ""
        lines.append(
            f"| {row['times']:g}{void} | {row['offered_per_s']:.1f} | {row['good_per_s']:.1f} "
            f"| {row['good_per_s'] / peak:.2f} | {_two(row, 'good')} | {row['late']} "
            f"| {row['refused']} | {_two(row, 'refused')} | {row['failed']} "
            f"| {row['ping_p99_ms']:.1f} "
            f"| {row['pss_before_mib']:.0f}, {row['pss_after_mib']:.0f} |"
        )
    return "\n".join(lines)


def _two(row: dict[str, Any], name: str) -> str:
    found = [row[f"{name}_{share}_ms"] for share in ("p50", "p99")]
    return ", ".join("-" if each is None else f"{each:.1f}" for each in found)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.overload", description=__doc__)
    add: Callable[..., Any] = parser.add_argument
    add("--model", choices=models.NAMES, default="resnet18_v1", metavar="NAME")
    add("--times", nargs="+", type=float, default=[0.5, 0.9, 1.0, 1.5, 2.0, 3.0], metavar="X")
    add("--seconds", type=float, default=20.0, metavar="S", help="of each run (%(default)s)")
    add("--capacity-s", type=float, default=10.0, metavar="S", help="to find it (%(default)s)")
    add("--timeout-ms", type=int, default=1000, metavar="MS", help="time limit (%(default)s)")
    add("--image-kb", type=int, default=10, metavar="KB", help="size of the picture (%(default)s)")
    add("--seed", type=int, default=1, help="of the arrivals (%(default)s)")
    add("--output", type=Path, default=ROOT / "build/overload.json", metavar="FILE")
    return parser


if __name__ == "__main__":
    sys.exit(main())
