"""The inventory is read as Ansible reads it, and what cannot work is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from testhosts.errors import InputError, InventoryError
from testhosts.inventory import HostSpec, read

GOOD = """
all:
  vars: {testhosts_gateway: 10.77.0.1, testhosts_memory_mib: 1536}
  children:
    mms:
      hosts:
        mms-1: {ansible_host: 10.77.0.11}
        mms-2: {ansible_host: 10.77.0.12, testhosts_memory_mib: 4096}
    molecule:
      vars: {testhosts_memory_mib: 2048}
      hosts:
        molecule-1: {ansible_host: 10.77.0.21}
"""


def written(tmp_path: Path, text: str) -> Path:
    (tmp_path / "hosts.yml").write_text(text, encoding="utf-8")
    return tmp_path


def test_reads_hosts_groups_and_inherited_variables(tmp_path: Path) -> None:
    inventory = read(written(tmp_path, GOOD))
    assert inventory.gateway == "10.77.0.1"
    assert inventory.group("mms") == ("mms-1", "mms-2")
    assert inventory.host("mms-1") == HostSpec("mms-1", "10.77.0.11", 1536, "10.77.0.1")
    assert inventory.host("mms-2").memory_mib == 4096
    assert inventory.host("molecule-1").memory_mib == 2048


def test_takes_the_file_itself_too(tmp_path: Path) -> None:
    assert list(read(written(tmp_path, GOOD) / "hosts.yml").hosts) == [
        "mms-1",
        "mms-2",
        "molecule-1",
    ]


def test_reads_the_project_s_own_inventory() -> None:
    inventory = read(Path(__file__).parents[3] / "inventory" / "local")
    assert set(inventory.groups) == {"mms", "molecule", "fleet", "fleet_balancer"}


def test_unknown_names_are_answered_with_the_known_ones(tmp_path: Path) -> None:
    inventory = read(written(tmp_path, GOOD))
    with pytest.raises(InputError, match=r"no host 'web' .*mms-1, mms-2, molecule-1"):
        inventory.host("web")
    with pytest.raises(InputError, match=r"no group 'web' .*mms, molecule"):
        inventory.group("web")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("testhosts_memory_mib: 4096", "testhosts_memory_mib: 1024", "at least 1536 MiB"),
        ("testhosts_memory_mib: 4096", "testhosts_memory_mib: 2G", "mms-2 is '2G'"),
        ("testhosts_memory_mib: 4096", "testhosts_memory_mib: true", "mms-2 is True"),
        ("ansible_host: 10.77.0.12", "ansible_host: 10.78.0.12", "of mms-2 is 10.78.0.12"),
        ("ansible_host: 10.77.0.12", "ansible_host: 10.77.0.1", "in 10.77.0.0/24 other than"),
        ("ansible_host: 10.77.0.12", "ansible_host: here", "of mms-2 is 'here'"),
        ("ansible_host: 10.77.0.12", "x: y", "of mms-2 is None"),
        ("ansible_host: 10.77.0.12", "ansible_host: 10.77.0.21", "mms-2 and molecule-1 have"),
        ("mms-2", "mms_2", "'mms_2' is not a host name"),
        ("testhosts_gateway: 10.77.0.1", "testhosts_gateway: 8.8.8.8", "8.8.8.8 is not private"),
        ("testhosts_gateway: 10.77.0.1", "other: 1", "testhosts_gateway is None"),
        ("all:", "everything:", "no group `all`"),
        ("mms:", "mms: ]", "hosts.yml:5: is not valid YAML"),
    ],
)
def test_refuses_what_cannot_work(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(InventoryError, match=message) as caught:
        read(written(tmp_path, GOOD.replace(old, new)))
    assert caught.value.exit_code == 2
    assert "Fix: " in str(caught.value)


def test_names_the_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match=r"hosts\.yml: cannot be read"):
        read(tmp_path)


def test_refuses_a_host_that_differs_between_groups(tmp_path: Path) -> None:
    twice = GOOD + "        mms-1: {ansible_host: 10.77.0.11}\n"
    with pytest.raises(InventoryError, match="mms-1 differs between groups"):
        read(written(tmp_path, twice))
