"""Units, sockets, limits and sandbox of a configured host."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import pytest

CONTROL = ["mms-control.socket", "mms-control.service", "mms-metrics.service", "nginx.service"]


@pytest.mark.parametrize("unit", [*CONTROL, "mms-relink.service", "efs.automount"])
def test_unit_is_enabled(host: Any, unit: str) -> None:
    assert host.run(f"systemctl is-enabled {unit}").stdout.strip() == "enabled"


@pytest.mark.parametrize("unit", [*CONTROL, "efs.automount"])
def test_unit_is_active(host: Any, unit: str) -> None:
    assert host.run(f"systemctl is-active {unit}").stdout.strip() == "active"


@pytest.mark.parametrize("kind", ["socket", "service"])
def test_release_is_enabled_and_active(host: Any, release: str, kind: str) -> None:
    unit = f"mms@{release}.{kind}"
    assert host.run(f"systemctl is-active {unit}").stdout.strip() == "active"
    assert host.run(f"systemctl is-enabled {unit}").stdout.strip() == "enabled"


def test_no_unit_failed(host: Any) -> None:
    assert host.check_output("systemctl --failed --plain --no-legend") == ""


def test_release_socket_belongs_to_root_and_proxy_only(host: Any, release: str) -> None:
    socket = host.file(f"/run/mms/{release}.sock")
    assert socket.is_socket
    assert (socket.user, socket.group, socket.mode) == ("root", "www-data", 0o660)


def test_live_link_points_at_the_release(host: Any, release: str) -> None:
    link = host.file("/run/mms/live/digits.sock")
    assert link.is_symlink
    assert PurePosixPath(link.linked_to).name == f"{release}.sock"


def cgroup(host: Any, release: str) -> str:
    unit = f"mms@{release}.service"
    path = host.check_output(f"systemctl show --property=ControlGroup --value {unit}")
    return f"/sys/fs/cgroup{path}"


def test_limits_are_in_the_cgroup(host: Any, release: str) -> None:
    directory = cgroup(host, release)
    memory_kib = int(host.check_output("awk '/^MemTotal/ {print $2}' /proc/meminfo"))
    high = int(host.file(f"{directory}/memory.high").content_string)
    most = int(host.file(f"{directory}/memory.max").content_string)
    assert high == pytest.approx(0.7 * memory_kib * 1024, rel=0.02)
    assert most == pytest.approx(0.8 * memory_kib * 1024, rel=0.02)
    assert host.file(f"{directory}/pids.max").content_string.strip() == "512"
    assert host.file(f"{directory}/cpu.weight").content_string.strip() == "100"


@pytest.mark.parametrize("unit", ["nginx.service", "mms-control.service"])
def test_nginx_and_the_control_application_get_cpu_time_before_models(host: Any, unit: str) -> None:
    path = host.check_output(f"systemctl show --property=ControlGroup --value {unit}")
    assert host.file(f"/sys/fs/cgroup{path}/cpu.weight").content_string.strip() == "1000"


def test_open_files_are_limited(host: Any, release: str) -> None:
    pid = host.check_output(f"systemctl show --property=MainPID --value mms@{release}.service")
    limits = host.file(f"/proc/{pid}/limits").content_string
    line = next(line for line in limits.splitlines() if line.startswith("Max open files"))
    assert line.split()[3:5] == ["65536", "65536"]


SANDBOX = {
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "PrivateNetwork": "yes",
    "RestrictAddressFamilies": "AF_UNIX",
    "ProtectKernelTunables": "yes",
    "CapabilityBoundingSet": "",
    "PrivateUsers": "yes",
    "ProcSubset": "pid",
}


# Directories of systemd's features for units.
DYNAMIC_USERS = range(61184, 65520)


@pytest.mark.parametrize(("name", "value"), SANDBOX.items())
@pytest.mark.parametrize("unit", ["mms@{release}.service", "mms-control.service"])
def test_sandbox(host: Any, release: str, unit: str, name: str, value: str) -> None:
    unit = unit.format(release=release)
    assert host.check_output(f"systemctl show --property={name} --value {unit}") == value


def test_workers_run_as_the_release_s_user_without_network(host: Any, release: str) -> None:
    pid = host.check_output(f"systemctl show --property=MainPID --value mms@{release}.service")
    user, group = host.check_output(f"stat --format=%u:%G /proc/{pid}").split(":")
    assert int(user) in DYNAMIC_USERS
    assert group == "mms"
    interfaces = host.file(f"/proc/{pid}/net/dev").content_string.splitlines()[2:]
    assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]
