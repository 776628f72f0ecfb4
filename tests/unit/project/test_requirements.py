"""The locked requirements: CPU and GPU hosts differ by the engine alone."""

from __future__ import annotations

import re
from pathlib import Path

REQUIREMENTS = Path(__file__).parents[3] / "requirements"


def locked(name: str) -> dict[str, str]:
    text = (REQUIREMENTS / f"{name}.txt").read_text()
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", text, re.MULTILINE))


def test_gpu_hosts_get_the_other_engine_and_the_same_of_all_else() -> None:
    cpu, gpu = locked("runtime"), locked("runtime-gpu")
    assert cpu.pop("mxnet") == gpu.pop("mxnet-cu112") == "1.9.1"
    assert cpu == gpu


def test_the_controller_has_what_hosts_have() -> None:
    assert locked("runtime").items() <= locked("controller").items()
