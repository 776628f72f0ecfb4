"""The location of an archive in ``mms.conf`` or on a command line (compatibility.md, 8.5)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

from mms_server.core.errors import ArchiveError


class Kind(Enum):
    """The form of the locations of a scheme, which is also the form of its words in fetch_allow."""

    URL = "URL"
    BUCKET = "bucket"


@dataclass(frozen=True)
class Scheme:
    """A kind of remote location; ``mms_server/archives/fetching/downloader.py`` has its source.

    ``title`` is its name in texts, ``example`` a location of it. ``port`` is the default port of a
    URL, 0 for a bucket.
    """

    name: str
    kind: Kind
    title: str
    example: str
    port: int = 0


SCHEMES: Final = (
    Scheme("http", Kind.URL, "HTTP", "http(s)://host/path", 80),
    Scheme("https", Kind.URL, "HTTPS", "http(s)://host/path", 443),
    Scheme("s3", Kind.BUCKET, "S3", "s3://bucket/key"),
)
"""The schemes of remote locations."""

REMOTE: Final[Mapping[str, Scheme]] = {row.name: row for row in SCHEMES}
URLS: Final[Mapping[str, Scheme]] = {row.name: row for row in SCHEMES if row.kind is Kind.URL}
BUCKETS: Final[Mapping[str, Scheme]] = {row.name: row for row in SCHEMES if row.kind is Kind.BUCKET}
EXAMPLES: Final = tuple(dict.fromkeys(row.example for row in SCHEMES))
"""An example of each form of a remote location, for texts."""

_PIN: Final = re.compile(r"#sha256=([^#]*)\Z", re.IGNORECASE)
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_NOT_IN_A_URL: Final = re.compile(r"[\x00-\x20\x7f\\]")


@dataclass(frozen=True)
class Location:
    """One location: ``text`` is the location without its pin, ``scheme`` is empty for a path.

    ``pin`` is the SHA-256 (64 lower-case hexadecimal digits) that the archive must have, or empty.
    """

    text: str
    scheme: str = ""
    pin: str = ""

    @property
    def remote(self) -> bool:
        """Whether the archive has to be fetched from another machine."""
        return self.scheme in REMOTE

    @property
    def name(self) -> str:
        """The base name, without a URL's query."""
        if not self.scheme:
            return PurePosixPath(self.text).name
        return PurePosixPath(unquote(urlsplit(self.text).path)).name

    @property
    def shown(self) -> str:
        """The location for messages, without user and query, which may be secret."""
        if not self.remote:
            return self.text
        parts = urlsplit(self.text)
        return f"{self.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def parse(text: str) -> Location:
    """Return the location in ``text``; a pin may follow as ``#sha256=<64 hex digits>``.

    Raises:
        ArchiveError: the pin or the URL is malformed.
    """
    found = _PIN.search(text)
    pin = found[1].lower() if found else ""
    bare = text[: found.start()] if found else text
    scheme, separator, _rest = bare.partition("://")
    location = Location(bare, scheme.lower() if separator else "", pin)
    if found and not _DIGEST.fullmatch(pin):
        raise ArchiveError(
            _unsigned(bare),
            f"the pin #sha256={found[1]} is not 64 hexadecimal digits.",
            fix="write the output of `sha256sum` on the archive after #sha256=, or no pin.",
        )
    if location.remote:
        _check_url(location)
    return location


def _unsigned(text: str) -> str:
    """Return a text without user and query, which may be secret; it may be a malformed URL."""
    return re.sub(r"://[^/@]*@", "://", text.partition("?")[0])


def _check_url(location: Location) -> None:
    where = _unsigned(location.text)
    try:
        parts = urlsplit(location.text)
        host, _port = parts.hostname, parts.port
    except ValueError as error:
        raise ArchiveError(where, f"it is not a URL: {error}.", fix="correct it.") from error
    if not host or _NOT_IN_A_URL.search(location.text):
        cause = "it is not a URL: it has no host, or a blank, a control character or a backslash."
        raise ArchiveError(where, cause, fix="write it as a browser shows it, %20 for a blank.")
    scheme = REMOTE[location.scheme]
    if scheme.kind is Kind.BUCKET:
        if not parts.path.strip("/") or parts.path.endswith("/"):
            cause = "it names no object of the bucket."
            raise ArchiveError(where, cause, fix=f"write {scheme.example} of one archive.")
    elif parts.fragment:
        cause = f"#{parts.fragment} is not sent to a server."
        raise ArchiveError(where, cause, fix="leave it out, or write #sha256=<digest> to pin it.")
