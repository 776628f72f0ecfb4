"""The command line: what it accepts, its exit codes, its messages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from testhosts import cli, prerequisites

COMMANDS = [
    "prerequisites",
    "image",
    "create",
    "destroy",
    "list",
    "ssh",
    "cut",
    "restore",
    "reboot",
    "kill",
    "start",
    "nfs",
    "down",
]
INVENTORY = """
all:
  vars: {testhosts_gateway: 10.99.0.1}
  hosts:
    web-1: {ansible_host: 10.99.0.11}
    web-2: {ansible_host: 10.99.0.12}
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout without hosts, which the commands take for theirs."""
    monkeypatch.setattr(cli, "ROOT", tmp_path)
    (tmp_path / "hosts.yml").write_text(INVENTORY)
    return tmp_path


def run(root: Path, *words: str) -> int:
    return cli.main(["--inventory", str(root), *words])


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([command, "--help"])
    assert caught.value.code == 0
    assert f"testhosts {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [[], ["fly"], ["nfs", "explode"], ["kill"], ["create", "--timeout", "soon"]]
)
def test_nonsense_is_bad_input(words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    assert caught.value.code == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["create"], "no host was given. Fix: give names, or --group"),
        (["create", "web-1", "web-9"], "no host 'web-9' (it has: web-1, web-2)"),
        (["create", "--group", "web"], "no group 'web' (it has: all)"),
        (["destroy", "../web-1"], "no host '../web-1'"),
    ],
)
def test_unknown_hosts_are_bad_input(
    root: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(root, *words) == 2
    assert message in capsys.readouterr().err


def test_an_absent_host_is_a_failure(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(root, "ssh", "web-1", "true") == 1
    assert "create web-1" in capsys.readouterr().err


def test_lists_absent_hosts(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(root, "list", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["name"], row["state"], row["pid"]) for row in rows] == [
        ("web-1", "absent", None),
        ("web-2", "absent", None),
    ]
    assert run(root, "list") == 0
    assert "web-2            10.99.0.12       2048 absent" in capsys.readouterr().out


def test_nfs_status_tells_by_its_exit_code(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(root, "nfs", "status") == 1
    assert json.loads(capsys.readouterr().out)["export"] == "10.99.0.1:/"


def test_what_needs_root_says_so(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert run(root, "down") == 1
    assert "Fix: run the same command as root." in capsys.readouterr().err


def test_prerequisites_install_nothing_when_all_is_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(prerequisites, "missing", list)
    assert cli.main(["prerequisites"]) == 0
    assert "all are installed" in capsys.readouterr().err
