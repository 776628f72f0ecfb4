"""Files and links of a directory that only its owner writes: durable writes, atomic replacement.

:func:`read_whole` and :func:`sync_directory` follow a symbolic link, the others do not. For
directories that other users or a model's code can write, see
:mod:`mms_server.core.untrusted_files`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def open_nofollow(
    path: Path | str, flags: int, mode: int = 0o600, *, directory: int | None = None
) -> int:
    """Return a descriptor of a file; a relative path counts from the descriptor ``directory``.

    Raises:
        OSError: it cannot be opened, or is a symbolic link.
    """
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=directory)


def open_directory(path: Path) -> int:
    """Return a descriptor of a directory.

    Raises:
        OSError: it cannot be opened, is not a directory, or is a symbolic link.
    """
    return open_nofollow(path, os.O_RDONLY | os.O_DIRECTORY)


@contextmanager
def new_file(path: Path | str, mode: int, *, directory: int | None = None) -> Iterator[BinaryIO]:
    """Create a file to write to; when the block ends without an error, its content is on the disk.

    The umask applies to ``mode``.

    Raises:
        OSError: it exists, or cannot be written.
    """
    descriptor = open_nofollow(
        path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode, directory=directory
    )
    with os.fdopen(descriptor, "wb") as stream:
        yield stream
        stream.flush()
        os.fsync(descriptor)


class FileTooLargeError(Exception):
    """A file has more bytes than the caller accepts."""


def read_whole(path: Path, max_bytes: int) -> bytes:
    """Return the content of a file that may come from elsewhere, and so may be huge.

    Raises:
        FileTooLargeError: it has more than ``max_bytes`` bytes.
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        data = stream.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise FileTooLargeError(f"{path} has more than {max_bytes} bytes")
    return data


def write_atomically(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Write ``text`` so that ``path`` holds the old content or the new, also after a power cut.

    Directories that are missing are made.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    with new_file(temporary, mode) as stream:
        stream.write(text.encode())
    temporary.replace(path)
    sync_directory(path.parent)


def replace_link(link: Path, target: str) -> None:
    """Let a symbolic link lead to ``target`` by one rename: at no time is there no link.

    Raises:
        OSError: it cannot be made.
    """
    temporary = link.with_name(f".{link.name}.new")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(link)


def sync(path: Path) -> None:
    """Let a file, or the entries of a directory, reach the disk.

    Raises:
        OSError: it cannot be opened or written, or is a symbolic link.
    """
    _sync(open_nofollow(path, os.O_RDONLY))


def sync_directory(path: Path) -> None:
    """Let the entries of a directory reach the disk; unlike :func:`sync`, follow a link to it.

    Raises:
        OSError: it cannot be opened or written.
    """
    _sync(os.open(path, os.O_RDONLY | os.O_DIRECTORY))


def _sync(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
