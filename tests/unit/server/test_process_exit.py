"""A process that exits without the interpreter's finalization: exit code and output."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = "from mms_server.server.process_exit import run_and_end\n{}\nrun_and_end(main)\n"


def run(main: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", CODE.format(main)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize(
    ("main", "status"),
    [
        ("def main(): return None", 0),
        ("def main(): return 3", 3),
        ("def main(): raise SystemExit(2)", 2),
        ("def main(): raise SystemExit", 0),
        ("def main(): raise SystemExit('no')", 1),
        ("def main(): raise ValueError('no')", 1),
        ("def main(): raise KeyboardInterrupt", 1),
    ],
)
def test_exit_code(main: str, status: int) -> None:
    assert run(main).returncode == status


def test_output_is_flushed_and_errors_are_shown() -> None:
    done = run("def main():\n    print('said', end='')\n    raise ValueError('why')")
    assert done.stdout == "said"
    assert "ValueError: why" in done.stderr


def test_the_interpreter_is_not_finalized() -> None:
    done = run("import atexit\natexit.register(print, 'torn down')\ndef main(): return 0")
    assert done.stdout == ""
