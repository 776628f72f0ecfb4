"""Take archives into the store, from this host's file systems or from remote locations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mms_server.archives import golden_samples
from mms_server.archives.content_store import Store
from mms_server.archives.fetching.downloader import Fetcher
from mms_server.config import model_uri
from mms_server.config.model_uri import Location
from mms_server.config.settings import Settings
from mms_server.core.errors import ArchiveError
from mms_server.core.io_timeout import with_io_timeout


@dataclass(frozen=True)
class ResolvedArchive:
    """Where a model's archive is; ``path`` is None if the archive is remote."""

    location: Location
    path: Path | None

    @property
    def samples(self) -> Path | None:
        """Return the directory of golden samples beside the archive, if there is one."""
        if self.path is None:
            return None
        beside = self.path.with_name(self.path.name + golden_samples.BESIDE)
        return beside if with_io_timeout(beside.is_dir, beside) else None

    def __str__(self) -> str:
        """Return the place as messages name it."""
        return str(self.path or self.location.shown)


@dataclass(frozen=True)
class ArchiveResolver:
    """Puts archives into the store, with the fetcher for remote ones."""

    store: Store
    fetcher: Fetcher

    def take(self, found: ResolvedArchive) -> str:
        """Put an archive into the store unless its content is there; return its digest.

        Raises:
            ArchiveError: the archive is bad, or not the pinned one. Nothing is left in the store.
            FetchError: the archive could not be fetched.
        """
        pin = found.location.pin
        if pin and self.store.has(pin):
            return pin
        if found.path is not None:
            _check_pin(found, self.store.digest(found.path))
            digest = self.store.add_archive(found.path)
            _check_pin(found, digest)
            return digest
        digest = self._fetched(found, self.store.add_archive)
        self.fetcher.discard(found.location)
        return digest

    def check(self, found: ResolvedArchive) -> str:
        """Return the digest of an archive after the checks of :meth:`take`; store nothing.

        A remote archive is downloaded for the check. A :meth:`take` afterwards uses that file.

        Raises:
            ArchiveError: as for :meth:`take`.
            FetchError: likewise.
        """
        if found.path is not None:
            digest = self.store.check_archive(found.path)
            _check_pin(found, digest)
            return digest
        return self._fetched(found, self.store.check_archive)

    def _fetched(self, found: ResolvedArchive, look: Callable[[Path], str]) -> str:
        fetched = self.fetcher.fetch(found.location, self.store.has)
        if fetched.file is None:
            return fetched.sha256
        try:
            digest = look(fetched.file)
        except ArchiveError as error:
            raise ArchiveError(str(found), error.cause, fix=error.fix) from error
        # The file's content counts: the file may be from an earlier run.
        _check_pin(found, digest)
        return digest


@dataclass(frozen=True)
class Beside:
    """Archive and samples of a location in a directory; a digest is empty if there are none."""

    found: ResolvedArchive
    sha256: str = ""
    samples_sha256: str = ""


def check_beside(text: str, directory: Path) -> Beside:
    """Return the archive of a location, checked, if ``directory`` has one of its base name.

    Golden samples beside the archive are checked too.

    Raises:
        ArchiveError: the location is malformed, or the archive is bad or not the pinned one.
    """
    location = model_uri.parse(text)
    path = directory / location.name
    if not location.name or not path.exists():
        return Beside(ResolvedArchive(location, None))
    # An empty store: nothing is added, and no archive counts as checked before.
    store = Store(directory / "no-store", Settings().max_archive_bytes)
    found = ResolvedArchive(location, path)
    digest = store.check_archive(path)
    _check_pin(found, digest)
    samples = store.check_samples(found.samples) if found.samples else ""
    return Beside(found, digest, samples)


def unsafe(found: ResolvedArchive, where: str, digest: str) -> list[str]:
    """Return a warning if an archive came by plain http and is not pinned."""
    if found.path is not None or found.location.scheme != "http" or found.location.pin:
        return []
    danger = "anybody on the network can change an archive that comes by plain http"
    return [f"{where}: {danger}: use https, or pin it by adding #sha256={digest}."]


def _check_pin(found: ResolvedArchive, digest: str) -> None:
    pin = found.location.pin
    if pin and digest != pin:
        cause = f"its SHA-256 is {digest}, not the pinned {pin}."
        fix = "find out who changed it, then correct the pin or the archive."
        raise ArchiveError(str(found), cause, fix=fix)
