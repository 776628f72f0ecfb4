"""Names, addresses and memory of the hosts, from the inventory of Ansible."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from testhosts.errors import InputError, InventoryError

# A guest boots with less memory, but then nginx and two releases of a model do not fit.
MINIMUM_MEMORY_MIB = 1536
DEFAULT_MEMORY_MIB = 2048
PREFIX = 24
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True)
class HostSpec:
    """One host in the inventory; ``gateway`` is the address of this machine on the bridge."""

    name: str
    address: str
    memory_mib: int
    gateway: str


@dataclass(frozen=True)
class Inventory:
    """The test hosts of one inventory, and their groups."""

    file: Path
    gateway: str
    hosts: Mapping[str, HostSpec]
    groups: Mapping[str, tuple[str, ...]]

    def host(self, name: str) -> HostSpec:
        """Return one host; raise InputError with the known names if it does not exist."""
        if name not in self.hosts:
            known = ", ".join(self.hosts) or "none"
            raise InputError(
                f"{self.file} has no host {name!r} (it has: {known}).",
                fix="use one of these names, or add the host to the inventory.",
            )
        return self.hosts[name]

    def group(self, name: str) -> tuple[str, ...]:
        """Return the host names of a group; raise InputError with the known groups if none."""
        if name not in self.groups:
            raise InputError(
                f"{self.file} has no group {name!r} (it has: {', '.join(self.groups)}).",
                fix="use one of these groups.",
            )
        return self.groups[name]


def read(place: Path) -> Inventory:
    """Read ``hosts.yml`` at ``place`` (the file itself, or the directory that holds it).

    Raises:
        InventoryError: the file is missing, is not YAML, or contains invalid values.
    """
    file = place / "hosts.yml" if place.is_dir() else place
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InventoryError(
            file, 0, f"cannot be read ({error.strerror}).", fix="pass --inventory DIR."
        ) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 0
        raise InventoryError(file, line, "is not valid YAML.", fix="correct the syntax.") from error
    top = content.get("all") if isinstance(content, dict) else None
    if not isinstance(top, dict):
        raise InventoryError(
            file, 0, "has no group `all` at its top.", fix="write `all:` first, as Ansible does."
        )
    gateway = _gateway(file, _mapping(top.get("vars")))
    hosts: dict[str, HostSpec] = {}
    groups: dict[str, list[str]] = {}
    for group, name, variables in _walk("all", top, {}):
        spec = _host(file, name, variables, gateway)
        groups.setdefault(group, []).append(name)
        if hosts.setdefault(name, spec) != spec:
            raise InventoryError(
                file,
                0,
                f"host {name} differs between groups.",
                fix="define its variables only once.",
            )
    _refuse_shared_addresses(file, hosts)
    return Inventory(file, gateway, hosts, {key: tuple(value) for key, value in groups.items()})


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _walk(
    group: str, content: dict[str, Any], inherited: dict[str, Any]
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield (group, host, variables) for every host of a group and of its children."""
    variables = {**inherited, **_mapping(content.get("vars"))}
    for name, own in _mapping(content.get("hosts")).items():
        yield group, str(name), {**variables, **_mapping(own)}
    for child, below in _mapping(content.get("children")).items():
        yield from _walk(str(child), _mapping(below), variables)


def _gateway(file: Path, variables: dict[str, Any]) -> str:
    value = variables.get("testhosts_gateway")
    fix = "set all.vars.testhosts_gateway to a private address such as 10.77.0.1."
    try:
        address = ipaddress.IPv4Address(str(value))
    except ValueError as error:
        raise InventoryError(file, 0, f"testhosts_gateway is {value!r}.", fix=fix) from error
    if not address.is_private or address.is_loopback:
        raise InventoryError(file, 0, f"testhosts_gateway {address} is not private.", fix=fix)
    return str(address)


def _host(file: Path, name: str, variables: dict[str, Any], gateway: str) -> HostSpec:
    if not _NAME.fullmatch(name):
        raise InventoryError(
            file, 0, f"{name!r} is not a host name.", fix="use a-z, 0-9 and '-', at most 63."
        )
    network = ipaddress.ip_network(f"{gateway}/{PREFIX}", strict=False)
    value = variables.get("ansible_host")
    fix = f"give {name} an ansible_host in {network} other than {gateway}."
    try:
        address = ipaddress.IPv4Address(str(value))
    except ValueError as error:
        raise InventoryError(file, 0, f"ansible_host of {name} is {value!r}.", fix=fix) from error
    edges = (network.network_address, network.broadcast_address, ipaddress.IPv4Address(gateway))
    if address not in network or address in edges:
        raise InventoryError(file, 0, f"ansible_host of {name} is {address}.", fix=fix)
    return HostSpec(name, str(address), _memory(file, name, variables), gateway)


def _memory(file: Path, name: str, variables: dict[str, Any]) -> int:
    memory = variables.get("testhosts_memory_mib", DEFAULT_MEMORY_MIB)
    if isinstance(memory, bool) or not isinstance(memory, int) or memory < MINIMUM_MEMORY_MIB:
        raise InventoryError(
            file,
            0,
            f"testhosts_memory_mib of {name} is {memory!r}; a host needs at least "
            f"{MINIMUM_MEMORY_MIB} MiB.",
            fix=f"set it to a whole number of MiB, {MINIMUM_MEMORY_MIB} or more.",
        )
    return memory


def _refuse_shared_addresses(file: Path, hosts: Mapping[str, HostSpec]) -> None:
    owners: dict[str, str] = {}
    for spec in hosts.values():
        other = owners.setdefault(spec.address, spec.name)
        if other != spec.name:
            raise InventoryError(
                file,
                0,
                f"{other} and {spec.name} have the same address {spec.address}.",
                fix="give each host its own address.",
            )
