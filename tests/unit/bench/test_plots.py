"""Plots of what the benchmarks wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench import plots

ROWS = [
    {
        "system": "mms-hosts",
        "model": "m",
        "engine": "mxnet",
        "connections": n,
        "requests_per_s": 10.0 * n,
        "p99_ms": 5.0 * n,
    }
    for n in (8, 1)
] + [
    {
        "system": "mms-hosts",
        "model": "m",
        "engine": "int8",
        "connections": 1,
        "requests_per_s": 30.0,
        "p99_ms": 2.0,
    }
]
OVERLOAD = {
    "model": "m",
    "capacity_per_s": 50.0,
    "rows": [
        {"offered_per_s": 100.0, "good_per_s": 50.0, "refused": 500, "seconds": 10.0},
        {"offered_per_s": 25.0, "good_per_s": 25.0, "refused": 0, "seconds": 10.0},
    ],
}


def test_figures_are_drawn_and_drawn_alike(tmp_path: Path) -> None:
    (tmp_path / "bench.json").write_text(json.dumps({"rows": ROWS}))
    (tmp_path / "overload.json").write_text(json.dumps(OVERLOAD))
    for name in ("one", "two"):
        assert (
            plots.main(["--build", str(tmp_path), "--output", str(tmp_path / name), "--model", "m"])
            == 0
        )
    for file in ("overload.svg", "latency.svg"):
        text = (tmp_path / "one" / file).read_text()
        assert text == (tmp_path / "two" / file).read_text()
    assert "answered in time" in (tmp_path / "one/overload.svg").read_text()
    assert "mms-hosts (int8)" in (tmp_path / "one/latency.svg").read_text()


def test_lines_go_by_load() -> None:
    axes = plots.overload(OVERLOAD).axes[0]
    assert list(axes.lines[0].get_xdata()) == [25.0, 100.0]
    assert list(axes.lines[1].get_ydata()) == [0.0, 50.0]
    axes = plots.latency(ROWS, "m").axes[0]
    assert list(axes.lines[0].get_xdata()) == [10.0, 80.0]


def test_nothing_to_draw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert plots.main(["--build", str(tmp_path), "--output", str(tmp_path)]) == 2
    assert "run a benchmark first" in capsys.readouterr().err
