"""API keys of clients: a file has their SHA-256 digests, and is read again when it changes.

A key is 256 random bits, so its digest cannot be reversed, and needs no salt. Several keys may be
valid at once: a client changes from one to the next while both are.
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
# A longer text is no key of ours, and no digest of it is computed.
_MAX_KEY_CHARACTERS: Final = 512
_BEARER: Final = "bearer "

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ApiKey:
    """A valid key; ``sha256`` is its digest in 64 lower-case hexadecimal digits."""

    name: str
    sha256: str


def new_key() -> str:
    """Return a new key: 256 random bits in URL-safe base64, 43 characters."""
    return secrets.token_urlsafe(_KEY_BYTES)


def digest(key: str) -> str:
    """Return the SHA-256 of a key, in hexadecimal digits."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def check_name(text: str) -> str:
    """Return ``text`` if it is a valid name of a key.

    Raises:
        MMSError: it is not.
    """
    if not _NAME.fullmatch(text):
        fix = "use up to 64 letters, digits and ._- and begin with a letter or digit."
        raise MMSError(f"{text!r} cannot name a key.", fix=fix)
    return text


def parse(text: str, file: Path) -> tuple[ApiKey, ...]:
    """Return the keys of a file: a digest and a name on each line; ``#`` begins a comment.

    Raises:
        ConfError: a line is invalid, or has the digest or the name of an earlier line.
    """
    keys: dict[str, ApiKey] = {}
    names: set[str] = set()
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.partition("#")[0].split()
        if not fields:
            continue
        if len(fields) != 2 or not _DIGEST.fullmatch(fields[0]) or not _NAME.fullmatch(fields[1]):  # noqa: PLR2004
            # The message does not show the line: it may be the key itself.
            cause = "the line is not a SHA-256 in 64 lower-case hexadecimal digits and a name."
            raise ConfError(file, number, cause, fix="write what `mms keys --new NAME` prints.")
        key = ApiKey(fields[1], fields[0])
        if key.sha256 in keys or key.name in names:
            cause = f"{key.name} or its digest is in an earlier line too."
            raise ConfError(file, number, cause, fix="keep one of the lines, or change the name.")
        keys[key.sha256] = key
        names.add(key.name)
    return tuple(keys.values())


def read(file: Path) -> tuple[ApiKey, ...]:
    """Return the keys of a file.

    Raises:
        ConfError: the file cannot be read, or as for :func:`parse`.
    """
    try:
        return parse(file.read_text("utf-8"), file)
    except (OSError, UnicodeDecodeError) as error:
        fix = "give the variable nginx_proxy_api_keys, and run the role nginx_proxy."
        raise ConfError(file, 0, f"cannot be read: {error}.", fix=fix) from error


def key_of_request(headers: Mapping[str, str]) -> str:
    """Return the key in a request's headers, by their WSGI names; empty if there is none."""
    authorization = headers.get("HTTP_AUTHORIZATION", "")
    if authorization[: len(_BEARER)].lower() == _BEARER:
        return authorization[len(_BEARER) :].strip()
    return headers.get("HTTP_X_API_KEY", "").strip()


class KeyRing:
    """The valid keys of a file. If the file becomes invalid, the keys from before stay valid."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._version: tuple[int, ...] | None = ()
        self._keys: tuple[ApiKey, ...] = ()

    def owner(self, key: str) -> str | None:
        """Return the name of a valid key; None for an invalid one."""
        self._refresh()
        if not key or len(key) > _MAX_KEY_CHARACTERS:
            return None
        key_digest, owner = digest(key), None
        # Constant time: all keys are compared, also after a match.
        for known in self._keys:
            if hmac.compare_digest(known.sha256, key_digest):
                owner = known.name
        return owner

    def _refresh(self) -> None:
        version: tuple[int, ...] | None = None
        with contextlib.suppress(OSError):
            status = self._file.stat()
            version = (status.st_mtime_ns, status.st_ino, status.st_size)
        if version == self._version:
            return
        self._version = version
        try:
            self._keys = read(self._file)
        except ConfError as error:
            _log.error("the keys that were valid before stay valid: %s", error)
