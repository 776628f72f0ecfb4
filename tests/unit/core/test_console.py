"""What all programs print: ``--version``."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest

import mms_server
from mms_server.cli import (
    collect_crashes,
    entry_point,
    export_cmd,
    fleet_main,
    predict_cmd,
    server_main,
)
from mms_server.cli.standalone import cmd
from mms_server.core import console
from mms_server.server import control_app, metrics_daemon, release_launcher

PROGRAMS: dict[str, Callable[[Sequence[str]], Any]] = {
    "mms": entry_point.main,
    "mms-fleet": fleet_main.main,
    "mxnet-model-server": server_main.main,
    "mxnet-model-export": export_cmd.main,
    "mms-predict": predict_cmd.main,
    "mms-collect-crashes": collect_crashes.main,
    "mms-control": control_app.main,
    "mms-metrics": metrics_daemon.main,
    "mms-release-server": release_launcher.main,
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_tells_its_version(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = PROGRAMS[name](["--version"])
    except SystemExit as exit_of_the_parser:
        code = exit_of_the_parser.code
    assert code == 0
    assert capsys.readouterr() == (f"{name} {mms_server.__version__}\n", "")
    assert re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", mms_server.__version__)


@pytest.mark.parametrize(
    "words", [["--version"], ["start", "--VERSION"], ["--models", "--version"]]
)
def test_the_server_tells_its_version_whatever_else_is_said(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert server_main.main(words) == 0
    assert capsys.readouterr().out == f"mxnet-model-server {mms_server.__version__}\n"


def test_the_version_of_the_server_needs_neither_network_nor_engine() -> None:
    program = (
        "import sys; from mms_server.cli import server_main; server_main.main(['--version']); "
        "sys.exit(len({'ssl', 'socket', 'mxnet', 'numpy', 'gevent'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_standalone_servers_help_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cmd.main(["--help"])
    assert "--version" in capsys.readouterr().out
    assert "--version" in server_main.USAGE


def test_an_error_of_the_operating_system_is_told_with_its_path() -> None:
    assert console.cause_of(OSError(2, "No such file", "/a")) == "/a: No such file."
    assert console.cause_of(OSError("broken")) == "broken."
