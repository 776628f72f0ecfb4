"""Which run this is, and whether another still runs."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from mms_server.fleet.rollout import run_identity

HOST = socket.gethostname()


def process(proc: Path, pid: int, parent: int, start: int, command: str) -> None:
    directory = proc / str(pid)
    directory.mkdir(parents=True)
    (directory / "cmdline").write_bytes(command.replace(" ", "\0").encode())
    rest = " ".join(["S", str(parent), *["0"] * 17, str(start), "0"])
    (directory / "stat").write_text(f"{pid} (odd) name) {rest}\n")


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    process(tmp_path, 10, 1, 100, "bash")
    process(tmp_path, 20, 10, 200, "python ansible-playbook x.yml")
    process(tmp_path, 30, 20, 300, "python ansible-playbook x.yml")
    process(tmp_path, 40, 30, 400, "python module.py")
    (tmp_path / "self" / "ns").mkdir(parents=True)
    (tmp_path / "self" / "ns" / "pid").symlink_to("pid:[4026531836]")
    return tmp_path


@pytest.mark.parametrize("pid", [20, 30, 40])
def test_all_processes_of_a_playbook_are_one_run(proc: Path, pid: int) -> None:
    run = run_identity.this_run(proc, pid)
    assert run.process == "20:200:pid:[4026531836]"
    assert run.controller == HOST
    assert run.owner


def test_a_run_is_gone_when_its_process_is(proc: Path) -> None:
    run = run_identity.this_run(proc, 40)
    assert not run_identity.is_gone(run.controller, run.process, proc)
    (proc / "20" / "stat").unlink()
    assert run_identity.is_gone(run.controller, run.process, proc)


def test_a_number_that_was_given_anew_is_another_process(proc: Path) -> None:
    assert run_identity.is_gone(HOST, "20:199:pid:[4026531836]", proc)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("elsewhere", "99:1:pid:[4026531836]"),
        (HOST, "99:1:pid:[1]"),
        (HOST, "x:1:pid:[4026531836]"),
        (HOST, ""),
    ],
)
def test_what_cannot_be_known_from_here_is_not_gone(proc: Path, host: str, name: str) -> None:
    assert not run_identity.is_gone(host, name, proc)
