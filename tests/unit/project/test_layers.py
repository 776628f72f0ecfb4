"""The packages of mms_server are layers, and import-linter sees a wrong import."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = ROOT / "mms_server"
LINTER = Path(sys.executable).with_name("lint-imports")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a directory with a copy of the package and of the contracts."""
    shutil.copytree(PACKAGE, tmp_path / "mms_server", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint(directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(LINTER), "--no-cache", "--no-logo"],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(directory)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def add_import(directory: Path, module: str, line: str) -> None:
    file = directory / "mms_server" / module
    file.write_text(file.read_text("utf-8") + f"\n{line}\n", "utf-8")


def test_no_module_is_beside_the_packages() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= 2


@pytest.mark.slow
def test_the_contracts_are_kept(copy: Path) -> None:
    done = lint(copy)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "line", "says"),
    [
        ("core/formatting.py", "from mms_server.cli import client", "core is not allowed"),
        ("config/settings.py", "from mms_server.host import lock", "config is not allowed"),
        ("rest/mms04/inputs.py", "from mms_server.rest.mms1 import inputs", "made acyclic"),
    ],
)
def test_a_wrong_import_is_refused(copy: Path, module: str, line: str, says: str) -> None:
    add_import(copy, module, line)
    done = lint(copy)
    assert done.returncode == 1
    assert says in " ".join(done.stdout.split())
