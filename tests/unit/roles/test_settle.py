"""Hosts that start by themselves are left alone until they serve."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.roles.modules import ROOT

PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))
HOSTS = "{{ mms_hosts | default('mms') }}{{ ':!starting' if 'starting' in groups else '' }}"
# Those that others import.
PARTS = {"served.yml"}


def plays_of(playbook: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(playbook.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda each: each.name)
def test_each_playbook_leaves_them_alone(playbook: Path) -> None:
    plays = plays_of(playbook)
    touching = [play["hosts"] for play in plays if "mms_hosts" in play.get("hosts", "")]
    assert set(touching) <= {HOSTS}
    imported = {play.get("ansible.builtin.import_playbook") for play in plays}
    if touching and playbook.name not in PARTS:
        assert imported & {"settle.yml", "configure.yml"}


def test_they_are_looked_for_whatever_tags_are_asked_for() -> None:
    (play,) = plays_of(ROOT / "playbooks" / "settle.yml")
    assert play["tags"] == ["always"]


@pytest.mark.slow
def test_one_that_does_not_serve_and_one_that_is_gone_are_left_out(tmp_path: Path) -> None:
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    gone = {"ansible_host": "127.0.0.77", "ansible_port": 9, "ansible_ssh_retries": 0}
    hosts = {"named": here, "starts": here, "ended": gone}
    scaled = {"hosts": {name: {} for name in ("starts", "ended")}}
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(
        yaml.safe_dump({"all": {"children": {"mms": {"hosts": hosts}, "scaled": scaled}}})
    )
    probe = {
        "name": "Probe",
        "hosts": HOSTS,
        "gather_facts": False,
        "tasks": [{"name": "Seen", "ansible.builtin.ping": {}}],
    }
    play = tmp_path / "probe.yml"
    settle = str(ROOT / "playbooks" / "settle.yml")
    play.write_text(
        yaml.safe_dump([{"name": "Settle", "ansible.builtin.import_playbook": settle}, probe])
    )
    command = [
        str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory), str(play),
        "-e", "ansible_become=false",
    ]  # fmt: skip
    environment = os.environ | {
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
    }
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout[done.stdout.index("{") :])
    (seen,) = [
        task["hosts"]
        for run in told["plays"]
        for task in run["tasks"]
        if task["task"]["name"] == "Seen"
    ]
    assert set(seen) == {"named"}
