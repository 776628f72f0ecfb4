"""What is taken over from the machine: only what a guest can use."""

from __future__ import annotations

from pathlib import Path

import pytest

from testhosts import image, network
from testhosts.errors import TestHostError
from testhosts.machine import (
    Machine,
    apt_settings,
    nameservers,
    pip_settings,
    proxies,
    sources_of,
)
from testhosts.rootfs import pip_conf

MACHINE = Machine(
    sources={"bookworm": "http://mirror/debian", "bookworm-security": "http://mirror/sec"},
    apt=(),
    pip={},
    proxies={},
    certificates={},
)


def test_only_debian_s_own_suites_become_sources() -> None:
    targets = [
        "https://elsewhere/apt cloud-sdk-bookworm main",
        "http://mirror/debian-security bookworm-security main",
        "http://mirror/debian bookworm contrib",
        "http://mirror/debian bookworm main",
        "http://second/debian bookworm main",
        "https://node nodistro main",
    ]
    found = sources_of(targets)
    assert list(found.items()) == [
        ("bookworm", "http://mirror/debian"),
        ("bookworm-security", "http://mirror/debian-security"),
    ]


def test_sources_are_written_as_apt_reads_them() -> None:
    assert MACHINE.apt_source_lines() == [
        "deb http://mirror/debian bookworm main",
        "deb http://mirror/sec bookworm-security main",
    ]


def test_apt_settings_are_those_about_fetching() -> None:
    dump = [
        'APT::Architecture "amd64";',
        'Acquire::http::Proxy "http://proxy:3128";',
        'Acquire::https "";',
        'Acquire::Check-Valid-Until "false";',
        'Acquire::Languages:: "none";',
        'DPkg::Post-Invoke:: "rm -f /var/cache/apt/archives/*.deb";',
    ]
    assert apt_settings(dump) == (
        'Acquire::http::Proxy "http://proxy:3128";',
        'Acquire::Check-Valid-Until "false";',
    )


def test_pip_settings_leave_out_places_of_this_machine() -> None:
    listing = [
        "global.cert='/etc/ssl/certs/ca-certificates.crt'",
        "global.extra-index-url='file:///opt/simple https://mirror/simple'",
        "global.find-links='/opt/wheels'",
        "global.index-url='https://pypi/simple'",
        ":env:.default-timeout='180'",
        ":env:.find-links='/opt/wheels'",
    ]
    settings = pip_settings(listing)
    assert settings == {
        "extra-index-url": "https://mirror/simple",
        "index-url": "https://pypi/simple",
        "default-timeout": "180",
    }
    assert pip_conf(settings).splitlines() == [
        "[global]",
        "cert = /etc/ssl/certs/ca-certificates.crt",
        "extra-index-url = https://mirror/simple",
        "index-url = https://pypi/simple",
        "default-timeout = 180",
    ]


def test_proxies_in_either_case() -> None:
    environment = {"HTTPS_PROXY": "http://p:1", "no_proxy": "localhost", "http_proxy": ""}
    assert proxies(environment) == {"https_proxy": "http://p:1", "no_proxy": "localhost"}


def test_name_servers_on_loopback_are_passed_over(tmp_path: Path) -> None:
    stub, real = tmp_path / "stub", tmp_path / "real"
    stub.write_text("nameserver 127.0.0.53\nnameserver fe80::1\n")
    real.write_text("# from DHCP\nnameserver 192.0.2.1\nnameserver 192.0.2.2\n")
    assert nameservers([tmp_path / "none", stub, real]) == ("192.0.2.1", "192.0.2.2")
    with pytest.raises(TestHostError, match=r"no name server .* Fix: "):
        nameservers([stub])


def test_the_image_s_name_changes_with_what_shapes_it() -> None:
    other = Machine(MACHINE.sources, ('Acquire::Retries "3";',), {}, {}, {})
    names = {
        image.digest(MACHINE, "key"),
        image.digest(MACHINE, "other key"),
        image.digest(other, "key"),
    }
    assert len(names) == 3
    assert image.digest(MACHINE, "key") in names


def test_device_names_fit_the_kernel_s_limit() -> None:
    assert network.tap_name("10.77.0.255") == "thtap0a4d00ff"
    assert network.bridge_name("10.77.0.1") == "thbr0a4d0001"
    assert max(len(network.tap_name("255.255.255.255")), len(network.bridge_name("10.0.0.1"))) < 16


def test_mac_addresses_are_local_and_differ_by_address() -> None:
    assert network.mac("10.77.0.11") == "02:00:0a:4d:00:0b"
    assert network.subnet("10.77.0.1") == "10.77.0.0/24"
