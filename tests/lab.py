"""Helpers of the tests on hosts: hosts of the inventory, playbooks, commands, a prediction."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from testhosts.inventory import read

ROOT = Path(__file__).resolve().parent.parent
INVENTORY = ROOT / "inventory" / "local"
MODELS = ROOT / "build" / "models"
SEVEN = MODELS / "images" / "seven.jpg"
GROUP = os.environ.get("MMS_TEST_GROUP", "molecule")
KEY = ROOT / "build" / "testhosts" / "id_ed25519"
OWN = "own-host"
"""The ssh name of a worker's host, so that tests have the same ids in all workers."""


@dataclass(frozen=True)
class Machine:
    """A test host."""

    name: str
    address: str

    @property
    def url(self) -> str:
        return f"http://{self.address}"


def fleet() -> list[Machine]:
    """Return the hosts of the group that is tested.

    A worker of pytest-xdist gets one host of its own, so that its tests disturb no other worker.
    """
    inventory = read(INVENTORY)
    machines = [Machine(name, inventory.hosts[name].address) for name in inventory.group(GROUP)]
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is None:
        return machines
    return [machines[int(worker.removeprefix("gw"))]]


def of(host: Any) -> Machine:
    """Return the machine of the fleet for a host of testinfra."""
    name = host.backend.hostname
    return next(each for each in fleet() if name in (each.address, OWN))


def playbook(
    name: str, *arguments: str, timeout_s: float = 900
) -> subprocess.CompletedProcess[str]:
    """Run a playbook on the tested group, to its end or until ``timeout_s``."""
    process = start_playbook(name, *arguments)
    try:
        output, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, output)


def start_playbook(name: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a playbook on the tested group."""
    command = [
        str(Path(sys.executable).with_name("ansible-playbook")),
        f"--inventory={INVENTORY}",
        f"--extra-vars=mms_hosts={GROUP}",
        str(ROOT / name),
        *arguments,
    ]
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "COLUMNS": "240",
    }
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def predict(machine: Machine, image: Path = SEVEN, model: str = "digits") -> dict[str, object]:
    """Return the most probable class of ``image``, from a prediction through nginx."""
    with image.open("rb") as stream:
        answer = requests.post(
            f"{machine.url}/{model}/predict",
            files={"data": (image.name, stream, "image/jpeg")},
            timeout=60,
        )
    answer.raise_for_status()
    best: dict[str, object] = answer.json()["prediction"][0][0]
    return best


# A login takes a second or more, so the commands of one run share a connection.
_CONNECTIONS = Path(tempfile.mkdtemp(prefix="mms-ssh-"))
atexit.register(shutil.rmtree, _CONNECTIONS, ignore_errors=True)

_SSH_OPTIONS = {
    "BatchMode": "yes",
    "ControlMaster": "auto",
    "ControlPath": str(_CONNECTIONS / "%C"),
    "ControlPersist": "60",
    "ConnectTimeout": "10",
    "LogLevel": "ERROR",
    "ServerAliveCountMax": "6",
    "ServerAliveInterval": "5",
    "StrictHostKeyChecking": "no",
    "UserKnownHostsFile": "/dev/null",
}
SSH_ARGUMENTS = [word for key, value in _SSH_OPTIONS.items() for word in ("-o", f"{key}={value}")]


def ssh_config() -> Path:
    """Write the same options as a file, for testinfra, and return its path."""
    options = {"IdentityFile": str(KEY), **_SSH_OPTIONS}
    lines = [f"    {key} {value}\n" for key, value in options.items()]
    file = _CONNECTIONS / "ssh_config"
    file.write_text(
        f"Host {OWN}\n    HostName {fleet()[0].address}\nHost *\n" + "".join(lines),
        encoding="utf-8",
    )
    return file


def copy(machine: Machine, file: Path, destination: str) -> None:
    """Copy a file to a host, as its user ``admin``."""
    target = f"admin@{machine.address}:{destination}"
    command = ["scp", "-q", "-i", str(KEY), *SSH_ARGUMENTS, str(file), target]
    subprocess.run(command, timeout=60, check=True)


def run(
    machine: Machine, command: str, *, stdin: str = "", timeout_s: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run a command as root on a host, to its end or until ``timeout_s``."""
    line = ["ssh", "-i", str(KEY), *SSH_ARGUMENTS, f"admin@{machine.address}", f"sudo {command}"]
    return subprocess.run(
        line, input=stdin, timeout=timeout_s, text=True, check=False, capture_output=True
    )


def on(machine: Machine, command: str, *, stdin: str = "", timeout_s: float = 120) -> str:
    """Run a command as root on a host, which must succeed; return its output."""
    done = run(machine, command, stdin=stdin, timeout_s=timeout_s)
    assert done.returncode == 0, f"{command} on {machine.name}: {done.stderr}"
    return done.stdout.strip()


def disconnect(machine: Machine) -> None:
    """Close the shared connection to a host before a power cut."""
    command = ["ssh", "-O", "exit", *SSH_ARGUMENTS, f"admin@{machine.address}"]
    subprocess.run(command, timeout=10, check=False, capture_output=True)
