"""What test hosts take over from the machine they run on: package sources, proxy, pip, CA, DNS.

Read when it is needed and never written into the repository, so that the project works behind any
mirror.
"""

from __future__ import annotations

import ast
import ipaddress
import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from testhosts.command import run
from testhosts.errors import TestHostError

SUITES = ("bookworm", "bookworm-updates", "bookworm-security")
_LIMIT_S = 60.0
_UPDATE_LIMIT_S = 600.0
_CERTIFICATES = Path("/usr/local/share/ca-certificates")
_PROXIES = ("http_proxy", "https_proxy", "no_proxy")
# How to fetch, as opposed to what to do with what was fetched.
_APT_SETTING = re.compile(r"Acquire::(https?::|ftp::Proxy|Check-|Retries|ForceIPv|By-Hash)")
_PIP_SETTINGS = ("index-url", "extra-index-url", "proxy", "trusted-host", "default-timeout")
# Resolvers whose addresses mean "this machine" would mean the guest inside a guest.
_RESOLVERS = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))


@dataclass(frozen=True)
class Machine:
    """Settings of this machine that shape the image."""

    sources: Mapping[str, str]
    apt: tuple[str, ...]
    pip: Mapping[str, str]
    proxies: Mapping[str, str]
    certificates: Mapping[str, bytes]

    def apt_source_lines(self) -> list[str]:
        """Return the guests' ``sources.list``."""
        return [f"deb {site} {suite} main" for suite, site in self.sources.items()]


def read() -> Machine:
    """Read this machine's settings.

    Raises:
        TestHostError: its apt has no source for Debian 12.
    """
    sources = _sources()
    if len(sources) < len(SUITES):
        # apt lists no target of a source that was never fetched, as on a fresh machine.
        run(["apt-get", "-q", "update"], timeout_s=_UPDATE_LIMIT_S)
        sources = _sources()
    if SUITES[0] not in sources:
        raise TestHostError(
            "apt on this machine has no source of Debian 12 (bookworm, main).",
            fix="add one to /etc/apt/sources.list.d/, run `apt-get update`, then run again.",
        )
    dump = run(["apt-config", "dump"], timeout_s=_LIMIT_S).stdout
    pip = run([sys.executable, "-m", "pip", "config", "list"], timeout_s=_LIMIT_S, check=False)
    return Machine(
        sources=sources,
        apt=apt_settings(dump.splitlines()),
        pip=pip_settings(pip.stdout.splitlines()),
        proxies=proxies(os.environ),
        certificates={
            file.name: file.read_bytes() for file in sorted(_CERTIFICATES.glob("**/*.crt"))
        },
    )


def _sources() -> dict[str, str]:
    # RELEASE is the suite that was asked for; CODENAME would merge bookworm-updates into bookworm.
    form = "$(SITE) $(RELEASE) $(COMPONENT)"
    argv = ["apt-get", "indextargets", "--format", form, "Created-By: Packages"]
    return sources_of(run(argv, timeout_s=_LIMIT_S).stdout.splitlines())


def sources_of(targets: Iterable[str]) -> dict[str, str]:
    """Return suite -> address from lines of ``address suite component``, in the order of SUITES."""
    found: dict[str, str] = {}
    for line in targets:
        fields = line.split()
        if len(fields) == 3 and fields[2] == "main":  # noqa: PLR2004 - the three fields of the format
            found.setdefault(fields[1], fields[0])
    return {suite: found[suite] for suite in SUITES if suite in found}


def apt_settings(dump: Iterable[str]) -> tuple[str, ...]:
    """Return the lines of ``apt-config dump`` that say how to fetch and hold a value."""
    return tuple(
        line for line in dump if _APT_SETTING.match(line) and not line.rstrip().endswith('"";')
    )


def pip_settings(listing: Iterable[str]) -> dict[str, str]:
    """Return the settings of ``pip config list`` that a guest can use.

    Without ``cert`` (a guest trusts the same certificates in its own bundle) and without whatever
    names a directory of this machine.
    """
    settings: dict[str, str] = {}
    for line in listing:
        key, _, quoted = line.partition("=")
        name = key.rpartition(".")[2]
        if name not in _PIP_SETTINGS:
            continue
        value = str(ast.literal_eval(quoted))
        usable = [word for word in value.split() if not word.startswith(("file:", "/", "."))]
        if usable:
            settings[name] = " ".join(usable)
    return settings


def proxies(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the proxy variables that are set, by their lower-case names."""
    found = {name: environment.get(name) or environment.get(name.upper()) for name in _PROXIES}
    return {name: value for name, value in found.items() if value}


def nameservers(files: Iterable[Path] = _RESOLVERS) -> tuple[str, ...]:
    """Return the IPv4 name servers that a guest can reach through NAT (at most three, as libc).

    Raises:
        TestHostError: there are only such as listen on this machine's loopback.
    """
    for file in files:
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        words = [line.split() for line in lines if line.startswith("nameserver")]
        usable = [pair[1] for pair in words if len(pair) > 1 and _reachable(pair[1])]
        if usable:
            return tuple(usable[:3])
    raise TestHostError(
        "this machine has no name server that a test host could reach through NAT.",
        fix="put an IPv4 address other than 127.0.0.0/8 into /etc/resolv.conf.",
    )


def _reachable(text: str) -> bool:
    try:
        return not ipaddress.IPv4Address(text).is_loopback
    except ValueError:
        return False
