"""Records of fetched locations, and files of downloads in progress.

A file is named by a digest of its location. Nothing that a server sends becomes a file name.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from mms_server.archives.fetching.responses import Validator
from mms_server.config.model_uri import Location
from mms_server.core import file_lock
from mms_server.core.files import write_atomically

_FILES_KEPT_S: Final = 24 * 3600.0
_RECORDS_KEPT_S: Final = 90 * 24 * 3600.0
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_LOCK_PAUSE_S: Final = 0.2


@dataclass(frozen=True)
class Record:
    """Content of a location when it was last fetched; without a digest, of a partial download."""

    validator: Validator = field(default_factory=Validator)
    sha256: str = ""


class CacheEntry:
    """The files of one location, in a directory that only root may write to."""

    def __init__(self, directory: Path, location: Location) -> None:
        self._directory = directory
        key = hashlib.sha256(location.text.encode("utf-8", "surrogateescape")).hexdigest()[:32]
        self.archive = directory / f"{key}.archive"
        self.part = directory / f"{key}.part"
        self._record = directory / f"{key}.json"
        self._part_record = directory / f"{key}.part.json"
        self._lock = directory / f"{key}.lock"

    @contextmanager
    def locked(
        self, timeout_s: float, clock: Callable[[], float], sleep: Callable[[float], None]
    ) -> Iterator[None]:
        """Keep other processes from fetching the same location.

        Raises:
            TimeoutError: another process has held the lock for ``timeout_s`` seconds.
        """
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = file_lock.open_lock_file(self._lock)
        try:
            if not file_lock.lock(
                descriptor, timeout_s, clock=clock, sleep=sleep, pause_s=_LOCK_PAUSE_S
            ):
                raise TimeoutError
            yield
        finally:
            os.close(descriptor)

    def known(self) -> Record:
        """Return the record of the location, an empty one if there is none."""
        return _read(self._record)

    def remember(self, record: Record) -> None:
        """Write the record of the location's content."""
        _write(self._record, record)

    def begun(self) -> tuple[int, Record]:
        """Return the size of the partial download in bytes, and the record of its content."""
        record = _read(self._part_record)
        if not self.part.is_file() or not record.validator.strong:
            return 0, Record()
        return self.part.stat().st_size, record

    def begin(self, validator: Validator) -> None:
        """Write the record of the content that is now downloaded."""
        _write(self._part_record, Record(validator))

    def finish(self, record: Record) -> None:
        """Make the finished download the archive, and write its record."""
        self.part.replace(self.archive)
        self._part_record.unlink(missing_ok=True)
        self.remember(record)

    def drop_part(self) -> None:
        """Remove the partial download."""
        self.part.unlink(missing_ok=True)
        self._part_record.unlink(missing_ok=True)

    def drop_archive(self) -> None:
        """Remove the archive; its record stays."""
        self.archive.unlink(missing_ok=True)


def stale(directory: Path, now_s: float) -> list[Path]:
    """Return downloads that were not continued for a day, and records older than 90 days."""
    found = []
    for path in sorted(directory.iterdir()) if directory.is_dir() else ():
        kept = _FILES_KEPT_S if path.suffix in (".archive", ".part") else _RECORDS_KEPT_S
        try:
            if now_s - path.stat().st_mtime > kept:
                found.append(path)
        except FileNotFoundError:
            continue
    return found


def _read(path: Path) -> Record:
    try:
        data = json.loads(path.read_text("utf-8"))
        texts = {name: str(data.get(name, "")) for name in asdict(Validator())}
        digest = str(data.get("sha256", ""))
    except (OSError, ValueError, AttributeError):
        # A record only saves a download. If it is unusable, the content is fetched again.
        return Record()
    return Record(Validator(**texts), digest if _DIGEST.fullmatch(digest) else "")


def _write(path: Path, record: Record) -> None:
    text = json.dumps({**asdict(record.validator), "sha256": record.sha256}, sort_keys=True)
    write_atomically(path, text)
