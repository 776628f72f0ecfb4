"""``mxnet-model-server start|stop|restart|status`` on a host, with systemd and nginx."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from tests import lab

pytestmark = [pytest.mark.one_host, pytest.mark.timeout(300)]
TIMEOUT_S = 30


@pytest.fixture(autouse=True)
def serves_again(host: Any) -> Iterator[None]:
    yield
    if host.run("mxnet-model-server status").rc:
        host.run_expect([0], "mxnet-model-server start")


def releases(host: Any) -> list[str]:
    answer = json.loads(host.check_output("mms status --json"))
    return [str(each["release"]) for each in answer["models"]]


@pytest.mark.parametrize("name", ["mxnet-model-server", "mxnet-model-server.sh"])
def test_stop_and_start(machine: lab.Machine, host: Any, name: str) -> None:
    before = releases(host)
    running = host.run(f"{name} status")
    assert running.rc == 0, running
    assert "digits: up" in running.stdout
    assert host.run(f"{name} stop").rc == 0
    for release in before:
        for kind in ("service", "socket"):
            assert host.run(f"systemctl is-active mms@{release}.{kind}").stdout.strip() != "active"
            enabled = host.run(f"systemctl is-enabled mms@{release}.{kind}").stdout.strip()
            assert enabled == "enabled"
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{machine.url}/ping", timeout=TIMEOUT_S)
    assert host.run(f"{name} STATUS").rc == 3
    assert host.run(f"{name} stop").rc == 0
    started = host.run(f"{name} --MMS-CONF /efs/models/mms.conf Start")
    assert started.rc == 0, started
    assert lab.predict(machine)["class"] == "7"
    assert releases(host) == before


def test_start_of_a_running_server(host: Any) -> None:
    again = host.run("mxnet-model-server start --mms-config=/efs/models/mms.conf")
    assert again.rc == 1
    assert "Process is already running with PID" in again.stderr


def test_restart_makes_new_processes(machine: lab.Machine, host: Any) -> None:
    show = f"systemctl show --property=MainPID --value mms@{releases(host)[0]}.service"
    before = host.check_output(show)
    assert host.run("mxnet-model-server restart --mms-config /efs/models/mms.conf").rc == 0
    assert host.check_output(show) != before
    assert lab.predict(machine)["class"] == "7"


def test_restart_starts_a_stopped_server(machine: lab.Machine, host: Any) -> None:
    assert host.run("mxnet-model-server stop").rc == 0
    assert host.run("mxnet-model-server restart").rc == 0
    assert lab.predict(machine)["class"] == "7"


def test_a_stop_waits_for_the_answer_in_flight(machine: lab.Machine, host: Any) -> None:
    unit = f"mms@{releases(host)[0]}.service"
    group = host.check_output(f"systemctl show --property=ControlGroup --value {unit}")
    pids = host.check_output(f"cat /sys/fs/cgroup{group}/cgroup.procs").split()
    master = host.check_output(f"systemctl show --property=MainPID --value {unit}")
    workers = " ".join(pid for pid in pids if pid != master)
    host.run_expect([0], f"kill -STOP {workers}")
    with ThreadPoolExecutor(2) as pool:
        answer = pool.submit(lab.predict, machine)
        time.sleep(2)
        stopped = pool.submit(lab.on, machine, "mxnet-model-server stop")
        time.sleep(2)
        assert not answer.done()
        assert not stopped.done()
        host.run_expect([0], f"kill -CONT {workers}")
        assert answer.result(60)["class"] == "7"
        assert stopped.result(60) == "Stopping MMS"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ("", 1, "Invalid options given"),
        ("reload", 1, "'reload' is not understood"),
        ("help", 0, "usage: mxnet-model-server"),
        ("restart --mms-config /missing.conf", 1, "No configuration file given... /missing.conf"),
    ],
)
def test_arguments_and_exit_codes(host: Any, words: str, code: int, says: str) -> None:
    done = host.run(f"mxnet-model-server {words}")
    assert done.rc == code
    assert says in done.stdout + done.stderr


def test_a_bad_nginx_section_changes_nothing(machine: lab.Machine, host: Any) -> None:
    before = host.check_output("sha256sum /etc/nginx/nginx.conf")
    good = host.file("/efs/models/mms.conf").content_string
    bad = f"{good}\n[Nginx Configurations]\nbogus on;\n"
    lab.on(machine, "tee /root/bad.conf", stdin=bad)
    done = host.run("mxnet-model-server restart --mms-config /root/bad.conf")
    assert done.rc == 1
    assert 'unknown directive "bogus" in /root/bad.conf:' in done.stderr
    assert host.check_output("sha256sum /etc/nginx/nginx.conf") == before
    assert lab.predict(machine)["class"] == "7"
