"""The URLs and addresses that archives may be fetched from.

An archive is code that will run on this host, and a URL may point into the operator's network. So
:meth:`UrlPolicy.admit` checks each URL, also those that a server redirects to. It returns the
addresses that it checked: the client connects to them, so that a second DNS lookup cannot lead it
to another address.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

from mms_server.config.model_uri import BUCKETS, URLS

PUBLIC: Final = "public"
_PORTS: Final = {name: scheme.port for name, scheme in URLS.items()}
_HOST: Final = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?|\[[0-9a-f:.]+\]")
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_LAST_PORT: Final = 65535
# Metadata services of clouds, which give out a machine's credentials. No rule allows them.
_METADATA: Final = (
    ipaddress.ip_address("fd00:ec2::254"),
    ipaddress.ip_address("100.100.100.200"),
    ipaddress.ip_address("192.0.0.192"),
)
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
# Encoded dots, slashes, backslashes and percent signs.
_AMBIGUOUS: Final = re.compile(r"%(2e|2f|5c|25)|\\", re.IGNORECASE)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[..., list[tuple[Any, ...]]]


class RefusedError(ValueError):
    """An address is not allowed; the text says why, and contains no credentials."""


class UnresolvedError(OSError):
    """A host name has no address now."""


@dataclass(frozen=True)
class _Rule:
    """One word: a host (``*.`` for all hosts below it), with or without a scheme and a path."""

    host: str
    port: int | None = None
    scheme: str = ""
    prefix: str = "/"

    def matches(self, scheme: str, host: str, port: int, path: str) -> bool:
        if self.host.startswith("*."):
            if not host.endswith(self.host[1:]):
                return False
        elif host != self.host:
            return False
        if self.scheme and scheme != self.scheme:
            return False
        if self.port is not None and port != self.port:
            return False
        return _is_below(path, self.prefix)


class UrlPolicy:
    """The rules of ``fetch_allow``: ``public``, hosts, ``*.domain``, and beginnings of URLs."""

    def __init__(self, words: Iterable[str], resolve: Resolve = socket.getaddrinfo) -> None:
        """Read the words; ``resolve`` is :func:`socket.getaddrinfo` or a replacement of it.

        Raises:
            ValueError: a word is no rule.
        """
        self._resolve = resolve
        self._public = False
        self._hosts: list[_Rule] = []
        self._buckets: list[tuple[str, str, str]] = []
        for word in words:
            self._add(word)

    def _add(self, word: str) -> None:
        scheme, separator, rest = word.partition("://")
        if word.lower() == PUBLIC:
            self._public = True
        elif separator and scheme.lower() in BUCKETS:
            bucket, _, prefix = rest.partition("/")
            if not _BUCKET.fullmatch(bucket):
                raise ValueError(f"{word} names no bucket")
            self._buckets.append((scheme.lower(), bucket, f"/{prefix}"))
        else:
            self._hosts.append(_rule(word))

    def admit(self, url: SplitResult) -> list[str]:
        """Return the addresses, as text, that a URL (not a bucket's) may be fetched from.

        Raises:
            RefusedError: the rules do not allow the URL.
            UnresolvedError: its host has no address now.
        """
        scheme = url.scheme.lower()
        if scheme not in _PORTS:
            raise RefusedError(f"{scheme or 'a URL without a scheme'} is not {' or '.join(_PORTS)}")
        host = host_of(url)
        port = port_of(url)
        named = any(rule.matches(scheme, host, port, url.path or "/") for rule in self._hosts)
        if not named and not self._public:
            raise RefusedError(f"{host} is not in fetch_allow")
        for address in (found := self._addresses(host, port)):
            _check_address(host, address, named=named)
        return [str(address) for address in found]

    def admit_object(self, scheme: str, bucket: str, key: str) -> None:
        """Check that an object of a bucket may be fetched; ``scheme`` is one of ``BUCKETS``.

        Raises:
            RefusedError: the rules do not allow the object.
        """
        if not _BUCKET.fullmatch(bucket):
            raise RefusedError(f"{bucket!r} is not a bucket's name")
        if self._public:
            return
        if not any(
            (scheme, bucket) == (kind, name) and _is_below(f"/{key}", prefix)
            for kind, name, prefix in self._buckets
        ):
            raise RefusedError(f"{scheme}://{bucket} is not in fetch_allow")

    def _addresses(self, host: str, port: int) -> list[Address]:
        try:
            rows = self._resolve(host.strip("[]"), port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise UnresolvedError(f"{host} has no address: {error.strerror or error}") from error
        except UnicodeError as error:
            raise RefusedError(f"{host!r} is not a host name") from error
        found = [ipaddress.ip_address(str(row[4][0]).partition("%")[0]) for row in rows]
        return list(dict.fromkeys(found))


def parse_words(text: str) -> UrlPolicy:
    """Return the rules of a text; an empty text allows nothing.

    Raises:
        ValueError: as for :class:`UrlPolicy`.
    """
    return UrlPolicy(text.split())


def host_of(url: SplitResult) -> str:
    """Return a URL's host in the form that rules are compared with: lower case, IDNA, no final dot.

    Raises:
        RefusedError: the URL has no host.
    """
    try:
        host = (url.hostname or "").rstrip(".")
        host = host if ":" in host else host.encode("idna").decode("ascii").lower()
    except (ValueError, UnicodeError) as error:
        raise RefusedError("its host name cannot be read") from error
    if ":" in host:
        host = f"[{host}]"
    if not _HOST.fullmatch(host):
        raise RefusedError(f"{host!r} is not a host name")
    return host


def port_of(url: SplitResult) -> int:
    """Return a URL's port, by default that of its scheme.

    Raises:
        RefusedError: the port is not a number from 1 to 65535.
    """
    try:
        port = url.port
    except ValueError as error:
        raise RefusedError("its port is not a number up to 65535") from error
    if port == 0:
        raise RefusedError("its port is 0")
    return port if port is not None else _PORTS[url.scheme.lower()]


def _rule(word: str) -> _Rule:
    try:
        url = urlsplit(word if "://" in word else f"//{word}")
        host, port = (url.hostname or "").rstrip("."), url.port
    except ValueError as error:
        raise ValueError(f"{word} is not a host or the beginning of a URL") from error
    host = f"[{host}]" if ":" in host else host
    scheme = url.scheme.lower()
    plain = not (url.username or url.password or url.query or url.fragment)
    known = scheme in _PORTS or (not scheme and not url.path)
    if not (_HOST.fullmatch(host) and plain and known) or port == 0:
        raise ValueError(f"{word} is not `public`, a host, or the beginning of a URL")
    return _Rule(host, port or (_PORTS[scheme] if scheme else None), scheme, url.path or "/")


def _is_below(path: str, prefix: str) -> bool:
    """Return whether a URL's path is ``prefix`` or below it, however the server decodes it."""
    if prefix == "/":
        return True
    # Servers decode such paths in different ways, so no rule with a path allows them.
    if _AMBIGUOUS.search(path) or {".", ".."} & set(path.split("/")):
        return False
    decoded, wanted = unquote(path), unquote(prefix)
    return decoded == wanted or decoded.startswith(wanted.rstrip("/") + "/")


def _check_address(host: str, address: Address, *, named: bool) -> None:
    inner = _unwrapped(address)
    reserved = (
        inner.is_link_local
        or inner.is_multicast
        or inner.is_unspecified
        or inner in _METADATA
        or address in _METADATA
    )
    if reserved:
        raise RefusedError(f"{host} is {address}, where archives are never fetched from")
    if not named and not (inner.is_global and address.is_global):
        cause = f"{host} is {address}, which is not a public address"
        raise RefusedError(f"{cause}: name the host in fetch_allow")


def _unwrapped(address: Address) -> Address:
    """Return the IPv4 address inside an IPv6 address, or the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped:
        return address.ipv4_mapped
    if address.sixtofour:
        return address.sixtofour
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address
