"""Plots of the benchmarks' results as SVG: ``python -m tests.bench.plots``.

``overload.svg`` shows the answers in time by the offered load (``build/overload.json``).
``latency.svg`` shows the latency of each system by its load (``build/bench.json``). A missing input
is skipped.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

from tests.bench.report import say
from tests.fixtures.servers import ROOT

_SIZE: Final = (7.2, 4.0)
_GRID: Final = {"color": "#dddddd", "linewidth": 0.6}


def overload(found: Mapping[str, Any]) -> Figure:
    """Return a plot of answers in time and refusals per second, by offered requests per second."""
    rows = sorted(found["rows"], key=lambda row: row["offered_per_s"])
    offered = [row["offered_per_s"] for row in rows]
    refused = [row["refused"] / row["seconds"] for row in rows]
    figure, axes = _axes("requests offered a second", "requests a second")
    axes.plot(offered, [row["good_per_s"] for row in rows], marker="o", label="answered in time")
    axes.plot(offered, refused, marker="s", label="refused at once")
    axes.axvline(found["capacity_per_s"], color="#888888", linestyle=":", label="capacity")
    axes.set_title(f"{found['model']}: more than it can answer")
    axes.legend(frameon=False)
    return figure


def latency(rows: Sequence[Mapping[str, Any]], model: str) -> Figure:
    """Return a plot of each system's 99th percentile by its rate, a point per connection count."""
    figure, axes = _axes("answers a second", "p99, ms")
    chosen = [row for row in rows if row["model"] == model]
    for system in dict.fromkeys((row["system"], row["engine"]) for row in chosen):
        points = sorted(
            (row["connections"], row["requests_per_s"], row["p99_ms"])
            for row in chosen
            if (row["system"], row["engine"]) == system
        )
        name = system[0] if system[1] == "mxnet" else f"{system[0]} ({system[1]})"
        axes.plot([one[1] for one in points], [one[2] for one in points], marker="o", label=name)
    axes.set_yscale("log")
    counts = ", ".join(str(each) for each in sorted({row["connections"] for row in chosen}))
    axes.set_title(f"{model}: {counts} connections")
    axes.legend(frameon=False, fontsize="small")
    return figure


def _axes(x: str, y: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(visible=True, **_GRID)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def write(figure: Figure, file: Path) -> None:
    """Write a figure as SVG; equal figures give equal bytes."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.hashsalt": file.name, "svg.fonttype": "none"}):
        figure.savefig(file, format="svg", metadata={"Date": None})


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the plots; return 2 if there is no input."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.plots", description=__doc__)
    parser.add_argument("--build", type=Path, default=ROOT / "build", metavar="DIR")
    parser.add_argument("--output", type=Path, default=ROOT / "docs/plots", metavar="DIR")
    parser.add_argument("--model", default="resnet18_v1", metavar="NAME", help="of latency.svg")
    options = parser.parse_args(argv)
    drawn = []
    for name, draw in (
        ("overload", overload),
        ("bench", lambda found: latency(found["rows"], options.model)),
    ):
        file = options.build / f"{name}.json"
        if file.exists():
            target = options.output / f"{'latency' if name == 'bench' else name}.svg"
            write(draw(json.loads(file.read_text("utf-8"))), target)
            drawn.append(target)
    for each in drawn:
        say(f"{each}")
    if not drawn:
        say(f"nothing to draw in {options.build}: run a benchmark first")
    return 0 if drawn else 2


if __name__ == "__main__":
    sys.exit(main())
