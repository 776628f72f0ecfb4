"""The store: read-only directories with unpacked archives, named by the SHA-256 of the content.

An entry appears by one rename, so it is complete or absent. An entry is never named after the
archive's file: two archives with the same file name are two entries, and an archive whose content
changes under the same file name becomes a new entry.

A source may lie on a shared file system. All methods raise SilentFileSystemError if that file
system does not answer in time.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from mms_server.archives import extract, golden_samples
from mms_server.archives.extract import UnpackLimits
from mms_server.core.errors import ArchiveError
from mms_server.core.files import sync
from mms_server.core.io_timeout import chunks, with_io_timeout

_TEMPORARY: Final = ".new-"
_MAX_FILES: Final = 4096
_CHUNK: Final = 1024 * 1024


@dataclass(frozen=True)
class Content:
    """Facts about an unpacked archive: its size in bytes, and whether it has golden samples."""

    size_bytes: int
    golden: bool

    @classmethod
    def of(cls, directory: Path) -> Content:
        """Return the facts about an unpacked archive."""
        size = sum(path.stat().st_size for path in _files(directory))
        return cls(size, (directory / golden_samples.FILE_NAME).is_file())


class Store:
    """Entries below one directory; sizes are in bytes."""

    def __init__(self, root: Path, max_bytes: int) -> None:
        self._root = root
        self._max_bytes = max_bytes
        self._seen: dict[str, Content] = {}

    def entry(self, digest: str) -> Path:
        """Return the directory of an entry; it may not exist yet."""
        return self._root / digest

    def has(self, digest: str) -> bool:
        """Return whether the store has an entry."""
        return self.entry(digest).is_dir()

    def content(self, digest: str) -> Content:
        """Return the facts about an archive that is in the store, or that this object has checked.

        Raises:
            KeyError: the archive is neither in the store nor checked.
        """
        if digest not in self._seen and self.has(digest):
            self._seen[digest] = Content.of(self.entry(digest))
        return self._seen[digest]

    def digest(self, source: Path) -> str:
        """Return the digest of an archive, of an unpacked one (a directory) or of a service file.

        Raises:
            ArchiveError: the source cannot be read, or is larger than the limit.
        """
        with _explained(source):
            if _is_directory(source):
                return self._digest_directory(source)
            return self._copy(source, None)

    def add_archive(self, source: Path) -> str:
        """Put an archive, or a directory that holds an unpacked one, into the store.

        Raises:
            ArchiveError: the source cannot be read or unpacked, or is not a model. Nothing is left
                in the store.
        """
        if _is_directory(source):
            return self._add(source, self._copy_directory, extract.check)
        return self._add(source, self._unpack, extract.check)

    def add_file(self, source: Path) -> str:
        """Put one file into the store, under its own name.

        Raises:
            ArchiveError: the file cannot be read, or is larger than the limit.
        """

        def take(_source: Path, content: Path) -> str:
            content.mkdir()
            return self._copy(source, content / source.name)

        return self._add(source, take, lambda _directory: None)

    def add_samples(self, directory: Path) -> str:
        """Put a directory of golden samples into the store.

        Raises:
            ArchiveError: the directory cannot be read, is larger than the limit, or holds no valid
                samples.
        """
        return self._add(directory, self._copy_directory, _check_samples)

    def check_samples(self, directory: Path) -> str:
        """Return the digest of a directory of golden samples after the checks of add_samples.

        Raises:
            ArchiveError: as for :meth:`add_samples`.
        """
        digest = self.digest(directory)
        with _explained(directory):
            with_io_timeout(lambda: _check_samples(directory), directory)
        return digest

    def check_archive(self, source: Path) -> str:
        """Return the digest of an archive after the checks of add_archive; store nothing.

        Raises:
            ArchiveError: as for :meth:`add_archive`.
        """
        digest = self.digest(source)
        if self.entry(digest).is_dir():
            return digest
        with _explained(source):
            if source.is_dir():
                extract.check(source)
                self._seen[digest] = with_io_timeout(lambda: Content.of(source), source)
                return digest
            with tempfile.TemporaryDirectory(prefix="mms-check-") as scratch:
                content = Path(scratch) / "content"
                extract.unpack(source, content, self._limits())
                with _named(source, content):
                    extract.check(content)
                self._seen[digest] = Content.of(content)
        return digest

    def put(self, digest: str, name: str, stream: IO[bytes], most: int) -> bool:
        """Put one file of at most ``most`` bytes under a digest that the caller has computed.

        An entry of that digest is replaced. Return False if the file is too large.

        Raises:
            OSError: the file cannot be read or written. Nothing is left in the store.
        """
        self._root.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=self._root))
        try:
            content = scratch / "content"
            content.mkdir()
            with (content / name).open("wb") as copy:
                while chunk := stream.read(_CHUNK):
                    most -= len(chunk)
                    if most < 0:
                        return False
                    copy.write(chunk)
            if self.has(digest):
                self.entry(digest).rename(scratch / "gone")
            self._settle(content, digest)
        finally:
            _remove_tree(scratch)
        return True

    def others(self, kept: Collection[str]) -> list[str]:
        """Return the names of all entries but ``kept``, and of leftovers of killed processes."""
        if not self._root.is_dir():
            return []
        return sorted(path.name for path in self._root.iterdir() if path.name not in kept)

    def remove_all_but(self, kept: Collection[str]) -> list[str]:
        """Remove all entries but ``kept`` and leftovers of killed processes; return their names."""
        gone = self.others(kept)
        for name in gone:
            # Rename it first: an entry that is half removed must not look complete.
            trash = self._root / name
            if not name.startswith("."):
                trash = self._root / f"{_TEMPORARY}{name}.gone"
                (self._root / name).rename(trash)
            _remove_tree(trash)
        return gone

    def _add(
        self,
        source: Path,
        take: Callable[[Path, Path], str],
        check: Callable[[Path], object],
    ) -> str:
        with _explained(source):
            digest = self.digest(source)
            if self.entry(digest).is_dir():
                return digest
            self._root.mkdir(parents=True, exist_ok=True)
            scratch = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=self._root))
            try:
                content = scratch / "content"
                # The source may have changed since it was read: the digest of the copy counts.
                digest = take(source, content)
                with _named(source, content):
                    check(content)
                if not self.entry(digest).is_dir():
                    self._settle(content, digest)
            finally:
                _remove_tree(scratch)
        return digest

    def _settle(self, content: Path, digest: str) -> None:
        """Make a directory the store's entry of a digest."""
        _seal(content)
        content.rename(self.entry(digest))
        self.entry(digest).chmod(0o555)
        sync(self._root)

    def _unpack(self, source: Path, content: Path) -> str:
        copy = content.with_name("archive")
        digest = self._copy(source, copy)
        with _named(source, copy):
            extract.unpack(copy, content, self._limits())
        copy.unlink()
        return digest

    def _copy_directory(self, source: Path, content: Path) -> str:
        content.mkdir()
        return self._digest_directory(source, content)

    def _digest_directory(self, source: Path, copy_to: Path | None = None) -> str:
        # The prefix makes the digest of a directory differ from that of any file.
        total = hashlib.sha256(b"directory\0")
        room = self._max_bytes
        for path in with_io_timeout(lambda: list(_files(source)), source):
            name = path.relative_to(source)
            target = None
            if copy_to is not None:
                target = copy_to / name
                target.parent.mkdir(parents=True, exist_ok=True)
            room -= with_io_timeout(path.stat, path).st_size
            if room < 0:
                raise self._too_large(source)
            total.update(os.fsencode(name) + b"\0" + self._copy(path, target).encode() + b"\0")
        return total.hexdigest()

    def _copy(self, source: Path, target: Path | None) -> str:
        """Return the SHA-256 of a file, and copy it if there is a target."""
        if not with_io_timeout(source.is_file, source):
            raise ArchiveError(source, "it is not a file.", fix="give the path of a .model file.")
        digest, size = hashlib.sha256(), 0
        with (target or Path(os.devnull)).open("wb") as copy:
            for chunk in chunks(source):
                size += len(chunk)
                if size > self._max_bytes:
                    raise self._too_large(source)
                digest.update(chunk)
                if target is not None:
                    copy.write(chunk)
        return digest.hexdigest()

    def _limits(self) -> UnpackLimits:
        most = min(self._max_bytes, UnpackLimits().total_size)
        return UnpackLimits(total_size=most)

    def _too_large(self, source: Path) -> ArchiveError:
        cause = f"it is larger than {self._max_bytes} bytes."
        return ArchiveError(source, cause, fix="make it smaller, or raise max_archive_bytes.")


def _check_samples(directory: Path) -> None:
    if not golden_samples.read(directory):
        fix = f"write {golden_samples.FILE_NAME} there, or remove the directory."
        raise ArchiveError(directory, "it holds no golden samples.", fix=fix)


def _is_directory(source: Path) -> bool:
    return with_io_timeout(source.is_dir, source)


def _files(directory: Path) -> Iterator[Path]:
    paths = sorted(path for path in directory.rglob("*") if not path.is_dir())
    if len(paths) > _MAX_FILES:
        fix = "give a directory that holds one model."
        raise ArchiveError(directory, f"it holds more than {_MAX_FILES} files.", fix=fix)
    yield from paths


@contextmanager
def _explained(source: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        cause = f"it cannot be read or stored: {error.strerror or error} ({error.filename})."
        fix = "check the file, its permissions and the free space."
        raise ArchiveError(source, cause, fix=fix) from error


@contextmanager
def _named(source: Path, copy: Path) -> Iterator[None]:
    """Let errors name the operator's source in place of the copy."""
    try:
        yield
    except ArchiveError as error:
        cause = error.cause.replace(f"{copy}/", "").replace(str(copy), source.name)
        raise ArchiveError(source, cause, fix=error.fix) from error


def _seal(directory: Path) -> None:
    """Make the files below a directory read-only, and sync them to the disk."""
    for path in sorted(directory.rglob("*"), reverse=True):
        path.chmod(0o555 if path.is_dir() else 0o444)
        sync(path)
    sync(directory)


def _remove_tree(directory: Path) -> None:
    if directory.is_dir() and not directory.is_symlink():
        directory.chmod(0o700)
        for path in directory.rglob("*"):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o700)
        shutil.rmtree(directory)
    else:
        directory.unlink(missing_ok=True)
