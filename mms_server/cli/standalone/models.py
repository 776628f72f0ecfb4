"""Models of the standalone server: unpacked into its own directory, or used in place."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from mms_server.archives.content_store import Store
from mms_server.archives.fetching.downloader import Fetcher, Limits
from mms_server.archives.locator import path_of
from mms_server.archives.resolver import ArchiveResolver, ResolvedArchive, unsafe
from mms_server.config import model_uri
from mms_server.config.model_uri import URLS, Location
from mms_server.config.settings import Settings
from mms_server.config.url_policy import PUBLIC, UrlPolicy
from mms_server.core.errors import ArchiveError


class ModelDirectories:
    """Unpacked archives below ``scratch``, while the server runs."""

    def __init__(self, scratch: Path, report: Callable[[str], None]) -> None:
        self._scratch = scratch
        self._report = report
        self._settings: Final = Settings()
        self._store = Store(scratch / "store", self._settings.max_archive_bytes)

    def take(self, locations_by_name: Mapping[str, str]) -> dict[str, Path]:
        """Return endpoint name -> directory of the unpacked archive.

        Raises:
            ArchiveError: a location is malformed, or its archive is missing or bad.
            FetchError: a remote archive could not be fetched.
        """
        return {name: self._directory(name, text) for name, text in locations_by_name.items()}

    def remove(self) -> None:
        """Remove the unpacked archives, whose directories are read-only."""
        self._store.remove_all_but(())
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _directory(self, name: str, text: str) -> Path:
        location = model_uri.parse(text)
        found = ResolvedArchive(location, path_of(location, Path.cwd()))
        if found.path is not None and found.path.is_dir() and not location.pin:
            # The unpacked form is used in place (compatibility.md, 8.5).
            return found.path
        digest = ArchiveResolver(self._store, self._fetcher(location)).take(found)
        for warning in unsafe(found, f"warning: model {name}", digest):
            self._report(warning)
        return self._store.entry(digest)

    def _fetcher(self, location: Location) -> Fetcher:
        # The user has typed the location, so its host is allowed, also in a private network.
        words = [PUBLIC]
        if location.scheme in URLS:
            words.append(urlsplit(location.text).netloc.rpartition("@")[2])
        try:
            rules = UrlPolicy(words)
        except ValueError as error:
            fix = "write http(s)://host/path."
            raise ArchiveError(location.shown, f"{error}.", fix=fix) from error
        limits = Limits(self._settings.max_archive_bytes, self._settings.fetch_timeout_s)
        return Fetcher(self._scratch / "fetched", rules, limits, self._report)
