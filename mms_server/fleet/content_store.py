"""Files and directories named by the SHA-256 of their content, and copies under other names."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from mms_server.archives.content_store import Store
from mms_server.config.settings import Settings
from mms_server.core.errors import ArchiveError, MMSError
from mms_server.core.files import new_file
from mms_server.core.io_timeout import chunks, with_io_timeout

NOTHING: Final = ""
"""The digest of a file that does not exist."""

_FILE_MODE: Final = 0o644
_DIRECTORY_MODE: Final = 0o755


def digest(path: Path) -> str:
    """Return the digest of a file or directory, :data:`NOTHING` if there is none.

    Raises:
        ArchiveError: the file cannot be read.
        SilentFileSystemError: the file system does not answer.
    """
    if not with_io_timeout(path.exists, path):
        return NOTHING
    return Store(path, Settings().max_archive_bytes).digest(path)


def require(contents: Path, wanted: str) -> None:
    """Check that a content exists and matches its digest; remove one that does not match.

    Raises:
        MMSError: the content is missing, or did not match.
    """
    path = contents / wanted
    found = digest(path)
    if found == wanted:
        return
    what = "is not there" if found == NOTHING else "was not copied whole"
    with_io_timeout(lambda: _remove(path), path)
    raise MMSError(f"{path} {what}.", fix="run the playbook again: it copies what is missing.")


def keep(contents: Path, source: Path) -> str:
    """Copy a file or directory into the contents; return its digest.

    Raises:
        ArchiveError: the source cannot be read, or changed while it was read.
    """
    wanted = digest(source)
    target = contents / wanted
    if with_io_timeout(target.exists, target):
        return wanted
    contents.mkdir(parents=True, exist_ok=True)
    # The copy gets its name only when it is complete.
    _place(source, target)
    if digest(target) != wanted:
        with_io_timeout(lambda: _remove(target), target)
        raise ArchiveError(source, "it changed while it was read.", fix="run it again.")
    return wanted


def put(contents: Path, wanted: str, path: Path) -> bool:
    """Make ``path`` a copy of a content, or remove it; return whether that changed anything.

    It is no hard link: a user who overwrites ``path`` in place must not change the content.

    Raises:
        OSError: the path cannot be written.
    """
    if digest(path) == wanted:
        return False
    if wanted == NOTHING:
        with_io_timeout(lambda: _remove(path), path)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        _place(contents / wanted, path)
    return True


def _place(source: Path, target: Path) -> None:
    """Copy under a temporary name, then rename: readers see the old content or the new one."""
    # One process writes at a time: files of these names are leftovers of a killed process.
    temporary, old = (target.with_name(f".{target.name}.{word}") for word in ("new", "old"))
    _remove(temporary)
    _remove(old)
    try:
        _each(source, temporary, _copy_file)
        if target.exists() and (target.is_dir() or source.is_dir()):
            target.rename(old)
            temporary.rename(target)
            _remove(old)
        else:
            temporary.replace(target)
    finally:
        _remove(temporary)


def _each(source: Path, target: Path, copy: Callable[[Path, Path], None]) -> None:
    if not source.is_dir():
        copy(source, target)
        return
    target.mkdir(mode=_DIRECTORY_MODE)
    for path in sorted(source.rglob("*")):
        if not path.is_dir():
            place = target / path.relative_to(source)
            place.parent.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
            copy(path, place)


def _copy_file(source: Path, target: Path) -> None:
    with new_file(target, _FILE_MODE) as stream:
        for chunk in chunks(source):
            stream.write(chunk)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
