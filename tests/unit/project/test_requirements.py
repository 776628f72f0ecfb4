"""The requirements: CPU and GPU hosts differ by the engine alone; no list lacks a package."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

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


def test_the_package_and_the_wheelhouse_name_the_same_dependencies() -> None:
    project = tomllib.loads((REQUIREMENTS.parent / "pyproject.toml").read_text("utf-8"))["project"]
    package = {Requirement(line).name for line in project["dependencies"]}
    lines = (REQUIREMENTS / "runtime.in").read_text("utf-8").splitlines()
    wheelhouse = {Requirement(line).name for line in lines if line and not line.startswith("#")}
    # The wheelhouse has pip to install the package; the package does not import it.
    assert {
        "missing in pyproject.toml": sorted(wheelhouse - package - {"pip"}),
        "missing in requirements/runtime.in": sorted(package - wheelhouse),
    } == {"missing in pyproject.toml": [], "missing in requirements/runtime.in": []}
