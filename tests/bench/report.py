"""Helpers of the benchmarks: the build directory, messages and JSON reports."""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import psutil

from mms_server.config import cpu_count
from tests.fixtures.servers import ROOT

BUILD: Final = ROOT / "build/bench"


def say(text: str) -> None:
    """Print a progress message on standard error."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - progress of a program


def machine() -> dict[str, Any]:
    """Return the description of this machine."""
    text = Path("/proc/cpuinfo").read_text("utf-8")
    names = [line.partition(": ")[2] for line in text.splitlines() if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.machine(),
        "cores": cpu_count.of_this_host(),
        "memory_mib": psutil.virtual_memory().total // 1024**2,
        "kernel": platform.release(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def write(report: Mapping[str, Any], output: Path) -> None:
    """Write a report as JSON, with the description of this machine."""
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps({"machine": machine(), **report}, indent=2) + "\n")
