"""The network of the hosts on this machine: one bridge, one tap for each host, NAT to the outside.

Device names are derived from addresses. A device that a dead host has left behind is therefore
found and reused by the next host with that address, also from another checkout.
"""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path
from typing import Any

from testhosts.command import run
from testhosts.inventory import PREFIX

_LIMIT_S = 20.0
_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
# Metric of the blackhole route, higher than that of any real route: without a bridge, packets to
# the hosts are dropped and do not leave this machine.
_BLACKHOLE_METRIC = "9999"
_DEFAULT_MTU = 1500


def device(kind: str, address: str) -> str:
    """Return the device name for an address (at most 15 characters); kind is ``br`` or ``tap``."""
    return f"th{kind}{int(ipaddress.IPv4Address(address)):08x}"


def bridge_name(gateway: str) -> str:
    """Return the bridge of a gateway address."""
    return device("br", gateway)


def tap_name(address: str) -> str:
    """Return the tap of a host's address."""
    return device("tap", address)


def mac(address: str) -> str:
    """Return a host's locally administered MAC address."""
    return ":".join(f"{byte:02x}" for byte in b"\x02\x00" + ipaddress.IPv4Address(address).packed)


def subnet(gateway: str) -> str:
    """Return the hosts' network, as ``10.77.0.0/24``."""
    return str(ipaddress.ip_network(f"{gateway}/{PREFIX}", strict=False))


def link(name: str) -> dict[str, Any] | None:
    """Return the properties of a device, or None if it does not exist."""
    done = run(["ip", "-json", "link", "show", "dev", name], timeout_s=_LIMIT_S, check=False)
    if done.returncode != 0:
        return None
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found[0] if found else None


def machine_mtu() -> int:
    """Return the MTU of the default route, at most 1500: the limit for hosts behind the NAT."""
    done = run(["ip", "-json", "-4", "route", "show", "default"], timeout_s=_LIMIT_S)
    routes = json.loads(done.stdout or "[]")
    out = link(routes[0]["dev"]) if routes else None
    return min(int(out["mtu"]), _DEFAULT_MTU) if out else _DEFAULT_MTU


def _rules(gateway: str) -> list[list[str]]:
    """Return table, chain and rule: NAT for outgoing packets, and forwarding for the bridge."""
    hosts, bridge = subnet(gateway), bridge_name(gateway)
    return [
        ["nat", "POSTROUTING", "-s", hosts, "!", "-d", hosts, "-j", "MASQUERADE"],
        ["filter", "FORWARD", "-i", bridge, "-j", "ACCEPT"],
        ["filter", "FORWARD", "-o", bridge, "-j", "ACCEPT"],
    ]


def _iptables(action: str, rule: list[str]) -> bool:
    """Run ``-C``, ``-I`` or ``-D`` with a rule; return whether it succeeded (``-I`` must)."""
    table, chain, *rest = rule
    argv = ["iptables", "-w", "5", "-t", table, action, chain, *rest]
    return run(argv, timeout_s=_LIMIT_S, check=action == "-I").returncode == 0


def up(gateway: str) -> None:
    """Create the bridge, the NAT rules and the blackhole route, unless they exist."""
    bridge, mtu = bridge_name(gateway), str(machine_mtu())
    blackhole = [
        "ip",
        "route",
        "replace",
        "blackhole",
        subnet(gateway),
        "metric",
        _BLACKHOLE_METRIC,
    ]
    run(blackhole, timeout_s=_LIMIT_S)
    if link(bridge) is None:
        add = [
            "ip",
            "link",
            "add",
            bridge,
            "type",
            "bridge",
            "stp_state",
            "0",
            "forward_delay",
            "0",
        ]
        run(add, timeout_s=_LIMIT_S)
    run(["ip", "link", "set", bridge, "mtu", mtu, "up"], timeout_s=_LIMIT_S)
    run(["ip", "addr", "replace", f"{gateway}/{PREFIX}", "dev", bridge], timeout_s=_LIMIT_S)
    _FORWARDING.write_text("1\n", encoding="ascii")
    for rule in _rules(gateway):
        if not _iptables("-C", rule):
            _iptables("-I", rule)


def down(gateway: str) -> None:
    """Undo :func:`up`; do nothing if nothing exists."""
    for tap in _taps(gateway):
        run(["ip", "link", "del", tap], timeout_s=_LIMIT_S)
    for rule in _rules(gateway):
        while _iptables("-C", rule) and _iptables("-D", rule):
            pass
    if link(bridge_name(gateway)) is not None:
        run(["ip", "link", "del", bridge_name(gateway)], timeout_s=_LIMIT_S)
    blackhole = ["ip", "route", "del", "blackhole", subnet(gateway), "metric", _BLACKHOLE_METRIC]
    run(blackhole, timeout_s=_LIMIT_S, check=False)


def _taps(gateway: str) -> list[str]:
    """Return the taps of the network of the gateway, also those of removed hosts."""
    done = run(["ip", "-json", "link", "show"], timeout_s=_LIMIT_S)
    names = {str(found["ifname"]) for found in json.loads(done.stdout)}
    hosts = ipaddress.ip_network(subnet(gateway)).hosts()
    return [tap for tap in (tap_name(str(address)) for address in hosts) if tap in names]


def tap_up(address: str, gateway: str) -> None:
    """Create the tap of a host, or reuse the existing one, and attach it to the bridge."""
    tap = tap_name(address)
    if link(tap) is None:
        run(["ip", "tuntap", "add", tap, "mode", "tap"], timeout_s=_LIMIT_S)
    mtu = str(machine_mtu())
    settings = ["mtu", mtu, "master", bridge_name(gateway), "up"]
    run(["ip", "link", "set", tap, *settings], timeout_s=_LIMIT_S)


def tap_down(address: str) -> None:
    """Remove the tap of a host; do nothing if it does not exist."""
    if link(tap_name(address)) is not None:
        run(["ip", "link", "del", tap_name(address)], timeout_s=_LIMIT_S)


def cut(address: str) -> None:
    """Detach a host from the bridge. Its link stays up: a guest link does not recover from down."""
    run(["ip", "link", "set", tap_name(address), "nomaster"], timeout_s=_LIMIT_S)


def restore(address: str, gateway: str) -> None:
    """Undo :func:`cut`."""
    plug = ["ip", "link", "set", tap_name(address), "master", bridge_name(gateway)]
    run(plug, timeout_s=_LIMIT_S)


def is_cut(address: str) -> bool:
    """Return whether the tap of a host is detached from the bridge."""
    found = link(tap_name(address))
    return found is not None and "master" not in found
