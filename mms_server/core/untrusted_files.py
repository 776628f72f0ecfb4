"""Files in a directory that another user, or a model's code, can write to.

A file there can be anything: a link to elsewhere, a pipe that nobody writes to, a device. So links
are not followed, and opening never waits. Files that are made are for the group, since the owner
of a release's processes can change with a restart. A model's code may have changed the umask, so
modes are set, not asked for.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from pathlib import Path
from typing import BinaryIO, Final

from mms_server.core.files import open_nofollow

_FILE_MODE: Final = 0o660


class NotRegularFileError(OSError):
    """A directory, a pipe, a socket or a device is where a file was expected."""

    def __init__(self, path: Path | str) -> None:
        super().__init__(errno.EINVAL, "it is not a regular file", str(path))


def open_for_reading(path: Path | str, *, directory: int | None = None) -> int:
    """Return a descriptor to read from; a relative path counts from the descriptor ``directory``.

    Raises:
        OSError: it cannot be opened, or is a symbolic link.
    """
    return open_nofollow(path, os.O_RDONLY | os.O_NONBLOCK, directory=directory)


def open_regular(path: Path | str, *, directory: int | None = None) -> BinaryIO:
    """Open a regular file to read from; see :func:`open_for_reading`.

    Raises:
        NotRegularFileError: it is something else.
        OSError: it cannot be opened, or is a symbolic link.
    """
    descriptor = open_for_reading(path, directory=directory)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotRegularFileError(path)
    return os.fdopen(descriptor, "rb")


def read_bounded(path: Path, limit: int, start: int = 0) -> bytes:
    """Return up to ``limit`` bytes of a regular file; b"" if it cannot be read."""
    try:
        descriptor = open_for_reading(path)
    except OSError:
        return b""
    try:
        return os.pread(descriptor, limit, start)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def open_group_file(path: Path, flags: int) -> int:
    """Return a descriptor of a file that the group may read and write; make it if it is missing.

    Raises:
        OSError: it cannot be opened, or is a symbolic link.
    """
    try:
        descriptor = open_nofollow(path, flags | os.O_CREAT | os.O_EXCL, _FILE_MODE)
    except FileExistsError:
        return open_nofollow(path, flags, _FILE_MODE)
    os.fchmod(descriptor, _FILE_MODE)
    return descriptor


def replace_group_file(path: Path, data: bytes) -> None:
    """Write a file for the group so that readers see the old content or the new.

    It does not outlast a power cut: these directories do not either.

    Raises:
        OSError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = open_group_file(temporary, os.O_WRONLY)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
