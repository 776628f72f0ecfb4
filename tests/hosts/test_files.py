"""The share, the runtime, and files of the system that must not change."""

from __future__ import annotations

from typing import Any

import pytest

from tests import lab

OPTIONS = {
    "vers=4.1",
    "rsize=1048576",
    "wsize=1048576",
    "hard",
    "timeo=600",
    "retrans=2",
    "noresvport",
}


def test_share_is_mounted_with_its_options(host: Any) -> None:
    host.check_output("stat /efs/models/mms.conf")
    line = host.check_output("findmnt --noheadings --types nfs4 --output SOURCE,OPTIONS /efs")
    source, options = line.split()
    assert source.endswith(f":/{lab.GROUP}")
    assert set(options.split(",")) >= OPTIONS


def test_share_is_mounted_at_its_first_use(host: Any) -> None:
    assert host.check_output("findmnt --noheadings --types autofs --output FSTYPE /efs") == "autofs"


@pytest.mark.parametrize(
    "path", ["/", "/etc", "/usr", "/usr/local/bin", "/var", "/var/lib", "/opt"]
)
def test_system_directories_are_unchanged(host: Any, path: str) -> None:
    directory = host.file(path)
    assert (directory.user, directory.group, directory.mode) == ("root", "root", 0o755)


@pytest.mark.parametrize(
    "path",
    ["/opt/mms", "/opt/mms/releases", "/etc/mms", "/var/lib/mms", "/run/mms", "/run/mms/instances"],
)
def test_own_directories_belong_to_root(host: Any, path: str) -> None:
    directory = host.file(path)
    assert directory.is_directory
    assert (directory.user, directory.group, directory.mode) == ("root", "root", 0o755)


def test_a_release_owns_only_its_instance_directory(host: Any, release: str) -> None:
    directory = host.file(f"/run/mms/instances/{release}")
    assert (directory.user, directory.group, directory.mode) == ("root", "mms", 0o2770)
    found = host.check_output("find /opt/mms /etc/mms /var/lib/mms -xdev -not -user root")
    assert found == ""


def test_runtime_is_complete_and_current(host: Any) -> None:
    runtime = host.check_output("readlink --canonicalize /opt/mms/current")
    assert host.file(f"{runtime}/.complete").exists
    assert host.check_output("find /opt/mms/wheelhouse -mindepth 1") == ""


COMMANDS = ["mms", "mms-predict", "mxnet-model-server", "mxnet-model-server.sh"]


@pytest.mark.parametrize("command", [*COMMANDS, "mxnet-model-export"])
def test_command_is_on_the_path(host: Any, command: str) -> None:
    host.run_expect([0], f"{command} --help")


def test_versions_are_the_locked_ones(host: Any) -> None:
    program = "import mxnet, numpy; print(mxnet.__version__, numpy.__version__)"
    assert host.check_output(f'/opt/mms/current/bin/python -c "{program}"') == "1.9.1 1.23.5"


def test_default_site_is_gone(host: Any) -> None:
    assert not host.file("/etc/nginx/sites-enabled/default").exists
    host.run_expect([0], "nginx -t")
