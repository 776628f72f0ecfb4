"""What is known of fetched locations, and the files of fetches under way.

Names are digests of locations: nothing that a server sends ever names a file.
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
    """What a location held when it was last fetched; without a digest, of a part of it."""

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
            TimeoutError: another one has been at it for ``timeout_s``.
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
        """Return what the location held, an empty record if that is not known."""
        return _read(self._record)

    def remember(self, record: Record) -> None:
        """Keep what the location holds now."""
        _write(self._record, record)

    def begun(self) -> tuple[int, Record]:
        """Return the size in bytes of the part that is there, and what it is a part of."""
        record = _read(self._part_record)
        if not self.part.is_file() or not record.validator.strong:
            return 0, Record()
        return self.part.stat().st_size, record

    def begin(self, validator: Validator) -> None:
        """Keep what the part that is now written is a part of."""
        _write(self._part_record, Record(validator))

    def finish(self, record: Record) -> None:
        """Make the part the archive."""
        self.part.replace(self.archive)
        self._part_record.unlink(missing_ok=True)
        self.remember(record)

    def drop_part(self) -> None:
        """Remove what was begun."""
        self.part.unlink(missing_ok=True)
        self._part_record.unlink(missing_ok=True)

    def drop_archive(self) -> None:
        """Remove the archive; what it was stays known."""
        self.archive.unlink(missing_ok=True)


def stale(directory: Path, now_s: float) -> list[Path]:
    """Return files that nobody came back for in a day, and what is known after 90 days."""
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
        # It only saves a download: whatever is wrong with it, the content is fetched again.
        return Record()
    return Record(Validator(**texts), digest if _DIGEST.fullmatch(digest) else "")


def _write(path: Path, record: Record) -> None:
    text = json.dumps({**asdict(record.validator), "sha256": record.sha256}, sort_keys=True)
    write_atomically(path, text)
