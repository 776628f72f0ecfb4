"""Keys of clients: what counts is in a file, as SHA-256 digests, and is read again when it changes.

A key is 256 random bits, so its plain digest cannot be turned round, and needs no salt. Several
keys may count at once: a client changes from one to the next while both do.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import logging
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mms_server.core.errors import ConfError, MMSError

FILE_NAME: Final = "keys/api_keys"
_KEY_BYTES: Final = 32
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# Longer ones are none of ours, and not worth a digest.
_LONGEST_KEY: Final = 512
_BEARER: Final = "bearer "

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ApiKey:
    """A key that counts: ``sha256`` are 64 lower-case hexadecimal digits."""

    name: str
    sha256: str


def new_key() -> str:
    """Return a new key: 256 random bits in the letters of URLs."""
    return secrets.token_urlsafe(_KEY_BYTES)


def digest(key: str) -> str:
    """Return the SHA-256 of a key, in hexadecimal digits."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def name_of(text: str) -> str:
    """Return ``text`` if it can name a key.

    Raises:
        MMSError: it cannot.
    """
    if not _NAME.fullmatch(text):
        fix = "use up to 64 letters, digits and ._- and begin with a letter or digit."
        raise MMSError(f"{text!r} cannot name a key.", fix=fix)
    return text


def parse(text: str, file: Path) -> tuple[ApiKey, ...]:
    """Return the keys of a file: a digest and a name a line; ``#`` begins a comment.

    Raises:
        ConfError: a line is none, or a digest or a name is there twice.
    """
    found: dict[str, ApiKey] = {}
    names: set[str] = set()
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 2 or not _DIGEST.fullmatch(words[0]) or not _NAME.fullmatch(words[1]):  # noqa: PLR2004
            # The line is not shown: it may be the key itself.
            cause = "the line is not a SHA-256 in 64 lower-case hexadecimal digits and a name."
            raise ConfError(file, number, cause, fix="write what `mms keys --new NAME` prints.")
        key = ApiKey(words[1], words[0])
        if key.sha256 in found or key.name in names:
            cause = f"{key.name} or its digest is there twice."
            raise ConfError(file, number, cause, fix="keep one, under a name of its own.")
        found[key.sha256] = key
        names.add(key.name)
    return tuple(found.values())


def read(file: Path) -> tuple[ApiKey, ...]:
    """Return the keys of a file.

    Raises:
        ConfError: it cannot be read, or as for :func:`parse`.
    """
    try:
        return parse(file.read_text("utf-8"), file)
    except (OSError, UnicodeDecodeError) as error:
        fix = "give the variable nginx_proxy_api_keys, and run the role nginx_proxy."
        raise ConfError(file, 0, f"cannot be read: {error}.", fix=fix) from error


def presented(headers: Mapping[str, str]) -> str:
    """Return the key that a request brings, empty if none; ``headers`` are those of WSGI."""
    words = headers.get("HTTP_AUTHORIZATION", "")
    if words[: len(_BEARER)].lower() == _BEARER:
        return words[len(_BEARER) :].strip()
    return headers.get("HTTP_X_API_KEY", "").strip()


class KeyRing:
    """The keys of a file as it is now; one that turns bad leaves the keys that counted before."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen: tuple[int, ...] | None = ()
        self._keys: tuple[ApiKey, ...] = ()

    def owner(self, key: str) -> str | None:
        """Return the name of a key that counts, None for any other."""
        self._refresh()
        if not key or len(key) > _LONGEST_KEY:
            return None
        asked, owner = digest(key), None
        # All are compared, each in the same time, whatever was found.
        for known in self._keys:
            if hmac.compare_digest(known.sha256, asked):
                owner = known.name
        return owner

    def _refresh(self) -> None:
        seen: tuple[int, ...] | None = None
        with contextlib.suppress(OSError):
            status = self._file.stat()
            seen = (status.st_mtime_ns, status.st_ino, status.st_size)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._keys = read(self._file)
        except ConfError as error:
            _log.error("the keys that counted before still do: %s", error)
