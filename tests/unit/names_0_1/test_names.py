"""What version 0.1 called by another name still works."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["worker", "control", "host_metrics", "deaths"])
def test_units_of_version_0_1_find_their_modules(module: str) -> None:
    command = [sys.executable, "-m", f"mms_server.{module}", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: mms-")


@pytest.mark.parametrize(
    "line",
    [
        "from mms_server.client import AnswerError, Client, NotReadyError, UnreachableError",
        "from mms_server import golden; golden.check, golden.read",
    ],
)
def test_imports_of_version_0_1_work_and_name_the_new_module(line: str) -> None:
    command = [sys.executable, "-W", "always", "-c", line]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "DeprecationWarning: mms_server." in done.stderr
    assert " is now mms_server." in done.stderr
