"""The sandbox of a release: code in a model tries what it can reach on a host, and answers with it.

The same archive is served three times: with the sandbox of every model, with an opt-out of the
network, and with an opt-out of everything else. The last one shows that the tested things exist.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from testhosts.inventory import read
from tests import lab
from tests.fixtures import models

pytestmark = pytest.mark.one_host

GATEWAY = read(lab.INVENTORY).gateway
REASON = "asks a feature store: ticket 12"
MODELS = ("reach", "free", "open")
METADATA = "169.254.169.254:80"
SYSTEM_SOCKETS = (
    "/run/mms/control.sock",
    "/run/mms/live/digits.sock",
    "/run/dbus/system_bus_socket",
    "/run/systemd/private",
    "/run/systemd/journal/socket",
    "/tmp/mms_app.sock",  # noqa: S108 - nginx's router, by --bind
)
SECRETS = (
    "/etc/shadow",
    "/etc/mms/mms.toml",
    "/etc/nginx/nginx.conf",
    "/etc/ssh",
    "/efs/models/mms.conf",
    "/home",
    "/root",
    "/var/log",
    "/var/lib/mms/generations",
    "/proc/1/environ",
    "/proc/1/cmdline",
    "/proc/kcore",
    "/proc/meminfo",
    "/dev/mem",
)
WRITES = ("/", "/etc", "/usr/bin", "/opt/mms", "/opt/mms/current", "/var/lib/mms", "/sys/kernel")
SERVICE = '''
import json
import logging
import os

import reach
from mms.model_service.mxnet_model_service import MXNetBaseService


class Reach(MXNetBaseService):
    """Does what the first number says."""

    def _inference(self, data):
        order = int(data[0].asnumpy()[0, 0])
        if order == 1:
            return reach.swarm(3.0)
        if order == 2:
            return reach.swallow(1024)
        if order == 3:
            for number in range(20):
                logging.getLogger("reach").info("line %d", number)
            return os.getuid()
        here = os.path.dirname(__file__)
        with open(os.path.join(here, "question.json")) as stream:
            question = json.load(stream)
        question["writable"].append(here)
        return reach.facts(question)

    def _postprocess(self, data):
        return data
'''


@dataclass
class Served:
    """The releases, and the findings of the code in each: ``confined``, ``free`` and ``open``."""

    releases: dict[str, str]
    confined: dict[str, Any]
    free: dict[str, Any]
    open: dict[str, Any]


def ask(machine: lab.Machine, model: str, order: int = 0) -> requests.Response:
    url = f"{machine.url}/{model}/predict"
    return requests.post(url, files={"order": (None, f"[[{order}]]")}, timeout=90)


def archive(directory: Path, question: dict[str, list[str]]) -> Path:
    (directory / "scripted").mkdir(parents=True)
    (directory / "scripted" / "question.json").write_text(json.dumps(question))
    shutil.copy(lab.ROOT / "tests" / "reach.py", directory / "scripted")
    return models.scripted(directory, SERVICE)


@pytest.fixture(scope="module")
def served(
    machine: lab.Machine, release: str, status: dict[str, Any], tmp_path_factory: Any
) -> Iterator[Served]:
    entries = lab.on(machine, "ls /var/lib/mms/store").split()
    gateway = f"{GATEWAY}:2049"
    question = {
        "addresses": [gateway, METADATA],
        "sockets": [*SYSTEM_SOCKETS, f"/run/mms/{release}.sock"],
        "readable": [
            *SECRETS,
            f"/run/mms/instances/{release}",
            f"/var/lib/mms/releases/{release}/release.json",
            *(f"/var/lib/mms/store/{entry}" for entry in entries),
        ],
        "writable": [*WRITES, f"/run/mms/instances/{release}", "/tmp", "/dev/shm"],  # noqa: S108
        "listed": ["/var/lib/mms/store", "/var/lib/mms/releases", "/run/mms/instances", "/run"],
    }
    directory = tmp_path_factory.mktemp("sandbox")
    lab.copy(machine, archive(directory, question), "reach.model")
    conf = directory / "mms.conf"
    conf.write_text(
        "[MMS Arguments]\n--models\n"
        "digits=/efs/models/digits.model reach=reach.model free=reach.model open=reach.model\n"
        "[Model Settings]\nreach.tasks_max=64\nreach.memory_max=400M\nreach.cpu_weight=50\n"
        f"free.unconfined=network: {REASON}\n"
        "open.unconfined=files, devices, processes, system_calls: shows what there is\n"
    )
    lab.copy(machine, conf, "mms.conf")
    # The host's nginx stands for the metadata service of a cloud.
    lab.on(machine, "ip address replace 169.254.169.254/32 dev lo")
    try:
        lab.on(machine, "mms apply --conf /home/admin/mms.conf", timeout_s=300)
        rows = json.loads(lab.on(machine, "mms status --json"))["models"]
        found = [ask(machine, model).json()["prediction"] for model in MODELS]
        yield Served({row["model"]: row["release"] for row in rows}, *found)
    finally:
        lab.on(machine, "ip address delete 169.254.169.254/32 dev lo")
        lab.on(machine, f"mms apply --conf {status['conf']}", timeout_s=300)


def test_no_network_no_metadata_no_other_socket(served: Served) -> None:
    tried = {k: v for k, v in served.confined["reach"].items() if k.startswith("connect")}
    assert len(tried) == len(SYSTEM_SOCKETS) + 3
    assert set(tried.values()) <= {"EAFNOSUPPORT", "ENOENT"}, tried


def test_nothing_of_the_host_and_of_other_models_can_be_read(served: Served) -> None:
    tried = {k: v for k, v in served.confined["reach"].items() if k.startswith("read")}
    assert len(tried) > len(SECRETS) + 2
    # An empty mount point, and a path without permission, count as not readable.
    assert set(tried.values()) <= {"ENOENT", "EACCES", "EPERM"}, tried


def test_only_its_own_files_are_visible(served: Served) -> None:
    listed = served.confined["listed"]
    release = served.releases["reach"]
    assert listed["/run/mms/instances"] == listed["/var/lib/mms/releases"] == [release]
    assert len(listed["/var/lib/mms/store"]) == 1
    assert listed["/run"] == ["mms", "systemd"]


def test_it_writes_to_its_own_directories_only(served: Served) -> None:
    tried = {
        k.removeprefix("write "): v
        for k, v in served.confined["reach"].items()
        if k.startswith("write")
    }
    done = {path for path, found in tried.items() if found == "done"}
    assert done == {"/tmp", "/dev/shm"}, tried  # noqa: S108
    assert set(tried.values()) <= {"done", "EROFS", "ENOENT", "EACCES"}, tried


def test_processes_of_others_are_not_visible(served: Served) -> None:
    for command in served.confined["processes"]:
        assert "mms_server.server.process_exit" in command, served.confined["processes"]
    assert served.confined["reach"]["kill 1"] == "EPERM"
    assert served.confined["uid"] != served.free["uid"], "each release has a user of its own"


def test_the_environment_is_the_listed_one(served: Served) -> None:
    assert set(served.confined["environ"]) <= {
        *("INVOCATION_ID", "JOURNAL_STREAM", "LANG", "LISTEN_FDNAMES", "LISTEN_FDS", "LISTEN_PID"),
        *("MMS_RELEASE_ID", "NOTIFY_SOCKET", "OMP_NUM_THREADS", "PATH", "WATCHDOG_PID"),
        "WATCHDOG_USEC",
    }


def test_system_calls_that_only_root_needs_are_refused(served: Served) -> None:
    tried = {k: v for k, v in served.confined["reach"].items() if k.startswith("call")}
    assert len(tried) > 10
    assert set(tried.values()) == {"EPERM"}, tried


def test_an_opt_out_lifts_what_it_names_and_nothing_else(served: Served, host: Any) -> None:
    differ = {
        name: (found, served.free["reach"][name])
        for name, found in served.confined["reach"].items()
        if found != served.free["reach"].get(name, found)
    }
    gateway = f"connect {GATEWAY}:2049"
    assert differ.pop(gateway) == ("EAFNOSUPPORT", "done")
    # The packet filter refuses the address, or drops the packets without an answer.
    assert differ.pop(f"connect {METADATA}")[1] in {"EPERM", "EACCES", "ETIMEDOUT", "TimeoutError"}
    assert differ == {}
    assert f"free runs without protection of network ({REASON})" in host.check_output("mms status")


def test_hidden_files_are_visible_with_an_opt_out(served: Served, release: str) -> None:
    done = {name for name, found in served.open["reach"].items() if found == "done"}
    assert {
        *("read /efs/models/mms.conf", "read /etc/mms/mms.toml", "read /etc/nginx/nginx.conf"),
        *("read /proc/1/cmdline", "read /proc/meminfo", "call process_vm_readv"),
        f"read /var/lib/mms/releases/{release}/release.json",
    } <= done
    assert set(served.releases.values()) <= set(served.open["listed"]["/var/lib/mms/releases"])
    assert any("sshd" in command for command in served.open["processes"])
    # Protections without an opt-out stay.
    assert "read /etc/shadow" not in done
    assert {name for name in done if name.startswith(("write", "connect"))} == {
        *("write /tmp", "write /dev/shm"),
    }


def test_the_limits_are_in_the_cgroup(served: Served, host: Any) -> None:
    unit = f"mms@{served.releases['reach']}.service"
    names = ("MemoryMax", "TasksMax", "CPUWeight")
    shown = host.check_output(f"systemctl show -p {' -p '.join(names)} {unit}")
    assert set(shown.split()) == {f"MemoryMax={400 * 2**20}", "TasksMax=64", "CPUWeight=50"}


@pytest.mark.parametrize("unit", ["mms@{reach}", "mms@{digits}", "mms-control", "mms-metrics"])
def test_exposure(served: Served, host: Any, unit: str) -> None:
    name = unit.format(**served.releases) + ".service"
    host.check_output(f"systemd-analyze security --no-pager --threshold=20 {name}")


@pytest.mark.timeout(120)
def test_a_fork_bomb_is_contained(served: Served, machine: lab.Machine) -> None:
    del served
    answers: list[Any] = []
    bomb = threading.Thread(target=lambda: answers.append(ask(machine, "reach", 1).json()))
    bomb.start()
    for _ in range(5):
        assert lab.predict(machine)["class"], "another model answers"
    bomb.join(timeout=90)
    assert 30 < answers[0]["prediction"] < 64
    assert ask(machine, "reach").status_code == 200


@pytest.mark.timeout(180)
def test_memory_is_contained(served: Served, machine: lab.Machine, host: Any) -> None:
    unit = f"mms@{served.releases['reach']}.service"
    main = host.check_output(f"systemctl show -P MainPID {unit}")
    answers: list[int] = []
    hog = threading.Thread(target=lambda: answers.append(ask(machine, "reach", 2).status_code))
    hog.start()
    for _ in range(5):
        assert lab.predict(machine)["class"], "another model answers"
    hog.join(timeout=120)
    assert answers[0] >= 500
    assert ask(machine, "reach").status_code == 200
    assert host.check_output(f"systemctl show -P MainPID {unit}") == main, "the master lives"


@pytest.mark.timeout(240)
def test_releases_of_different_users_write_and_rotate_one_log_file(
    served: Served, machine: lab.Machine
) -> None:
    del served
    head = "[MMS Arguments]\n--models\nreach=reach.model free=reach.model\n"
    flags = "--log-file\nsandbox/one.log\n--log-rotation-time\n1 S\n"
    lab.on(machine, "tee /home/admin/logs.conf", stdin=head + flags)
    lab.on(machine, "rm -rf /var/log/mms/sandbox")
    lab.on(machine, "mms apply --conf /home/admin/logs.conf", timeout_s=300)
    users = {ask(machine, model, 3).json()["prediction"] for model in ("reach", "free") * 4}
    assert len(users) == 2
    lines = lab.on(machine, "sh -c 'cat /var/log/mms/sandbox/one.log*'").splitlines()
    assert sum(": line " in line or "] line " in line for line in lines) == 8 * 20
    found = lab.on(machine, "sh -c 'stat --format=%G:%a /var/log/mms/sandbox/one.log*'").split()
    assert len(found) > 2, "it was rotated"
    assert set(found) == {"mms:660"}
    lab.on(machine, "rm -rf /var/log/mms/sandbox")


IMPORT_CHECK = """
import json
import sys

sys.path.insert(0, {here!r})
import reach

print("found", json.dumps(reach.facts(json.load(open({here!r} + "/question.json")))))

from mms.model_service.mxnet_model_service import MXNetBaseService


class Reach(MXNetBaseService):
    pass
"""


@pytest.mark.timeout(180)
def test_the_exporter_s_import_check_is_confined_as_well(
    served: Served, machine: lab.Machine
) -> None:
    entry = lab.on(machine, f"cat /var/lib/mms/releases/{served.releases['reach']}/release.json")
    source = f"/var/lib/mms/store/{json.loads(entry)['archive_sha256']}"
    here = "/var/tmp/reach"  # noqa: S108
    lab.on(machine, f"sh -c 'rm -rf {here}; cp -r {source} {here}; rm {here}/MANIFEST.json'")
    # It replaces the service file of the archive, which has only one.
    lab.on(machine, f"tee {here}/odd_service.py", stdin=IMPORT_CHECK.format(here=here))
    command = f"mxnet-model-export --model-name odd --model-path {here} "
    command += f"--service-file-path odd_service.py --export-path {here}"
    try:
        done = lab.run(machine, command)
        assert done.returncode == 0, done.stderr
        line = next(row for row in done.stderr.splitlines() if row.startswith("found"))
        found = json.loads(line.removeprefix("found "))
        assert "runs with all rights" not in done.stderr
    finally:
        lab.on(machine, f"rm -rf {here}")
    bad = {
        name: outcome
        for name, outcome in found["reach"].items()
        if outcome == "done" and name not in {"write /tmp", "write /dev/shm"}
    }
    assert bad == {}
    assert found["listed"]["/run"] == ["systemd"]
    assert all("mms_server.export" in command for command in found["processes"])
    assert lab.on(machine, "systemctl list-units --all --plain --no-legend mms-export*") == ""
