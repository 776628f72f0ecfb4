"""A rebooted host serves again by itself. It runs after all other tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import requests

from testhosts.lab import Lab
from tests import lab

LIMIT_S = 180.0


def healthy(machine: lab.Machine) -> bool:
    try:
        return requests.get(f"{machine.url}/ping", timeout=3).status_code == 200
    except requests.RequestException:
        return False


@pytest.mark.fleet
@pytest.mark.timeout(300)
def test_host_serves_after_a_reboot(
    host: Any,
    machine: lab.Machine,
    release: str,
    record_property: Callable[[str, object], None],
) -> None:
    boot = host.check_output("cat /proc/sys/kernel/random/boot_id")
    # From a timer: a reboot from the ssh session may end it before its exit code arrives.
    timer = "--on-active=1s --timer-property=AccuracySec=100ms"
    host.check_output(f"systemd-run --quiet {timer} systemctl reboot")
    deadline = time.monotonic() + LIMIT_S
    while healthy(machine) and time.monotonic() < deadline:
        time.sleep(0.2)
    began = time.monotonic()
    while not healthy(machine):
        assert time.monotonic() < deadline, f"not healthy {LIMIT_S:.0f} s after the reboot"
        time.sleep(0.5)
    record_property("seconds from down to healthy", round(time.monotonic() - began, 1))
    # The host may serve before it accepts logins.
    Lab.open(lab.ROOT).host(machine.name).wait_ssh(timeout_s=60)
    assert host.check_output("cat /proc/sys/kernel/random/boot_id") != boot
    assert lab.predict(machine)["class"] == "7"
    assert host.file("/run/mms/live/digits.sock").linked_to.endswith(f"{release}.sock")
    assert host.check_output("systemctl --failed --plain --no-legend") == ""
    assert host.check_output("stat --file-system --format=%T /efs/.") == "nfs"
