"""Download the archive of a remote location: once, completely, and checked.

A download that breaks off is resumed where it stopped, by this run or by the next one, if the
server still has the same content. Each fetch asks for the location's current content: content that
changed under the same name is downloaded (compatibility.md, 20), unchanged content is not sent.
"""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mms_server.archives.fetching import cache
from mms_server.archives.fetching.cache import CacheEntry, Record
from mms_server.archives.fetching.http import HttpSource
from mms_server.archives.fetching.responses import (
    Reply,
    Source,
    StaleRangeError,
    TransientError,
    Validator,
)
from mms_server.archives.fetching.s3 import S3Source
from mms_server.config.model_uri import Location
from mms_server.config.url_policy import UrlPolicy
from mms_server.core.errors import ArchiveError, FetchError

ATTEMPTS: Final = 5
_FIRST_PAUSE_S: Final = 1.0
_MAX_PAUSE_S: Final = 30.0
_PROGRESS_S: Final = 5.0
_MIB: Final = 1024 * 1024
_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")

Open = Callable[[Location, UrlPolicy], Source]

SOURCES: Final[Mapping[str, Open]] = {"http": HttpSource, "https": HttpSource, "s3": S3Source}
"""The source of each scheme in :data:`mms_server.config.model_uri.SCHEMES`."""


@dataclass(frozen=True)
class Fetched:
    """An archive's SHA-256 and its file; no file if its content is in the store already."""

    sha256: str
    file: Path | None


def open_source(location: Location, rules: UrlPolicy) -> Source:
    """Return the source of a remote location.

    Raises:
        ArchiveError: the location is malformed, or not allowed.
    """
    return SOURCES[location.scheme](location, rules)


@dataclass(frozen=True)
class Limits:
    """Limits of one fetch: its size in bytes and its whole duration in seconds."""

    max_bytes: int
    timeout_s: float


@dataclass(frozen=True)
class Fetcher:
    """Fetches archives; ``report`` gets progress, ``clock`` is in seconds, ``jitter`` 0 to 1."""

    directory: Path
    rules: UrlPolicy
    limits: Limits
    report: Callable[[str], None]
    source: Open = open_source
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = field(default=random.random)

    def fetch(self, location: Location, have: Callable[[str], bool]) -> Fetched:
        """Return the current archive of ``location``; ``have`` says whether a digest is stored.

        Raises:
            ArchiveError: the location has no archive to fetch, or another one than its pin says.
            FetchError: the archive could not be fetched in time.
        """
        if location.pin and have(location.pin):
            return Fetched(location.pin, None)
        entry = CacheEntry(self.directory, location)
        until = self.clock() + self.limits.timeout_s
        try:
            with entry.locked(self.limits.timeout_s, self.clock, self.sleep):
                return _Fetch(self, location, entry, until).run(have)
        except TimeoutError as error:
            cause = "another process has been fetching it for all that time."
            raise FetchError(location.shown, cause, fix="wait until it is done.") from error

    def discard(self, location: Location) -> None:
        """Remove a downloaded file whose archive is in the store."""
        CacheEntry(self.directory, location).drop_archive()

    def stale(self, now_s: float) -> list[Path]:
        """Return the files of abandoned downloads; ``now_s`` is in seconds since 1970."""
        return cache.stale(self.directory, now_s)


class _Fetch:
    """One fetch of one location."""

    def __init__(
        self, fetcher: Fetcher, location: Location, entry: CacheEntry, until: float
    ) -> None:
        self._fetcher = fetcher
        self._location = location
        self._entry = entry
        self._until = until
        self._source = fetcher.source(location, fetcher.rules)
        self._told = fetcher.clock()
        self._kind = ""

    def run(self, have: Callable[[str], bool]) -> Fetched:
        known = self._entry.known()
        there = bool(known.sha256) and (have(known.sha256) or self._entry.archive.is_file())
        # If the known content is not the pinned one, "unchanged" is no answer: fetch it in full.
        if not there or self._location.pin not in ("", known.sha256):
            known = Record()
        failures = 0
        while True:
            size = self._size()
            try:
                return self._attempt(known, have)
            except StaleRangeError:
                self._entry.drop_part()
                cause, pause = "its content changed while it was fetched", 0.0
            except TransientError as error:
                cause, pause = error.cause, error.retry_after_s
            # An attempt that brought bytes resets the count: the time limit bounds such attempts.
            failures = 1 if self._size() > size else failures + 1
            self._pause(cause, pause, failures)

    def _size(self) -> int:
        return self._entry.begun()[0]

    def _attempt(self, known: Record, have: Callable[[str], bool]) -> Fetched:
        start, part = self._entry.begun()
        with self._source.open(start, part.validator, known.validator) as reply:
            if reply.unchanged:
                self._entry.remember(known)
                return self._there(known.sha256, have)
            self._kind = reply.content_type
            self._receive(reply)
        digest = self._verified()
        self._entry.finish(Record(reply.validator, digest))
        return self._there(digest, have)

    def _there(self, digest: str, have: Callable[[str], bool]) -> Fetched:
        if have(digest):
            self._entry.drop_archive()
            return Fetched(digest, None)
        return Fetched(digest, self._entry.archive)

    def _receive(self, reply: Reply) -> None:
        most = self._fetcher.limits.max_bytes
        if reply.size is not None and reply.size > most:
            raise self._too_large(most)
        if not reply.start:
            self._entry.drop_part()
        self._entry.begin(reply.validator if reply.validator.strong else Validator())
        done = reply.start
        with self._entry.part.open("r+b" if reply.start else "wb") as stream:
            stream.truncate(reply.start)
            stream.seek(reply.start)
            while data := reply.read():
                done += len(data)
                if done > most:
                    raise self._too_large(most)
                stream.write(data)
                self._progress(done, reply.size)
                self._check_time("")
            stream.flush()
            os.fsync(stream.fileno())
        if reply.size is not None and done < reply.size:
            raise TransientError(f"it ended after {done} of {reply.size} bytes")

    def _verified(self) -> str:
        """Return the digest of the download after checking that it is a ZIP, and its pin."""
        digest = hashlib.sha256()
        with self._entry.part.open("rb") as stream:
            begins = stream.read(4)
            digest.update(begins)
            while data := stream.read(_MIB):
                digest.update(data)
        pin = self._location.pin
        if begins not in _ZIP:
            self._entry.drop_part()
            kind = f" (Content-Type {self._kind[:60]})" if self._kind else ""
            cause = f"the content is not a model archive{kind}: it does not begin like a ZIP."
            raise self._bad(cause, "open the location with curl from this host, and correct it.")
        if pin and digest.hexdigest() != pin:
            self._entry.drop_part()
            cause = f"its SHA-256 is {digest.hexdigest()}, not the pinned {pin}."
            raise self._bad(cause, "find out who changed it, then correct the pin or the archive.")
        return digest.hexdigest()

    def _pause(self, cause: str, asked_s: float, failures: int) -> None:
        fetcher = self._fetcher
        if failures >= ATTEMPTS:
            fix = "check that this host reaches it. The next run resumes the download."
            raise FetchError(self._location.shown, f"{cause}, {failures} times in a row.", fix=fix)
        backoff = min(_FIRST_PAUSE_S * 2 ** (failures - 1), _MAX_PAUSE_S)
        pause = max(asked_s, backoff * (0.5 + fetcher.jitter() / 2))
        self._check_time(cause, pause)
        fetcher.report(f"{self._location.shown}: {cause}; again in {pause:.1f} s")
        fetcher.sleep(pause)

    def _check_time(self, cause: str, ahead_s: float = 0.0) -> None:
        if self._fetcher.clock() + ahead_s > self._until:
            limit = self._fetcher.limits.timeout_s
            why = f" ({cause})" if cause else ""
            fix = "run it again: the download is resumed; or raise fetch_timeout_s."
            raise FetchError(
                self._location.shown, f"it was not fetched in {limit:g} s{why}.", fix=fix
            )

    def _progress(self, done: int, size: int | None) -> None:
        now = self._fetcher.clock()
        if now - self._told < _PROGRESS_S:
            return
        self._told = now
        whole = f" of {size / _MIB:.1f}" if size is not None else ""
        self._fetcher.report(f"{self._location.shown}: {done / _MIB:.1f}{whole} MiB")

    def _too_large(self, most: int) -> ArchiveError:
        self._entry.drop_part()
        return self._bad(
            f"it is larger than {most} bytes.", "make it smaller, or raise max_archive_bytes."
        )

    def _bad(self, cause: str, fix: str) -> ArchiveError:
        return ArchiveError(self._location.shown, cause, fix=fix)
