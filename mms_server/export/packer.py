"""Write an archive: reproducible byte for byte, and atomic.

Members are stored in the given order with fixed times and permissions, so every run on every
machine gives the same bytes. The format is that of 0.4 (docs/compatibility.md, 8.1).
"""

from __future__ import annotations

import io
import os
import re
import shutil
import tempfile
import unicodedata
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO

from mms_server.core.errors import ArchiveError

_BAD_NAME = re.compile(r"[\x00-\x1f\x7f\\]|^[A-Za-z]:")
_MAX_NAME_BYTES = 255
_EPOCH_1980 = (1980, 1, 1, 0, 0, 0)
_ZIP64_FROM = 2**31 - 1

Members = Mapping[str, Path | bytes]


def check_names(directory: Path, names: Iterable[str]) -> None:
    """Refuse names that cannot be unpacked: servers unpack into one directory, by base names.

    Raises:
        ArchiveError: a name cannot be a file name, or two members would be the same file.
    """
    seen: dict[str, str] = {}
    for name in names:
        base = name.rpartition("/")[2]
        if _BAD_NAME.search(name) or len(base.encode("utf-8", "surrogatepass")) > _MAX_NAME_BYTES:
            raise ArchiveError(
                directory, f"a file has the unusable name {name!r}.", fix="rename it."
            )
        key = unicodedata.normalize("NFC", base).casefold()
        if key in seen:
            raise ArchiveError(
                directory,
                f"{seen[key]!r} and {name!r} would be the same file: servers unpack an archive "
                "without its directories.",
                fix="give the files different names.",
            )
        seen[key] = name


def write(target: Path, members: Members) -> None:
    """Write the new file ``target``: a temporary file in its directory, which is then hard-linked.

    Raises:
        ArchiveError: the target already exists.
        OSError: the file cannot be written; no partial file remains.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
                for member, content in members.items():
                    _add(archive, member, content)
            stream.flush()
            os.fchmod(stream.fileno(), 0o644)
            os.fsync(stream.fileno())
        os.link(name, target)
    except FileExistsError as error:
        raise already_exists(target) from error
    finally:
        Path(name).unlink()


def already_exists(target: Path) -> ArchiveError:
    """Return the error for an existing target; its text is 0.4's (compatibility.md, 9)."""
    return ArchiveError(
        target, f"model file {target} already exists.", fix="remove it, or choose another name."
    )


def _add(archive: zipfile.ZipFile, name: str, content: Path | bytes) -> None:
    if isinstance(content, bytes):
        _copy(archive, name, io.BytesIO(content), len(content))
    else:
        with content.open("rb") as stream:
            _copy(archive, name, stream, content.stat().st_size)


def _copy(archive: zipfile.ZipFile, name: str, content: IO[bytes], size: int) -> None:
    info = zipfile.ZipInfo(name, _EPOCH_1980)
    info.create_system = 3  # Unix on every machine, because the permissions below are Unix's
    info.external_attr = 0o100644 << 16
    info.file_size = size
    with archive.open(info, "w", force_zip64=size > _ZIP64_FROM) as member:
        shutil.copyfileobj(content, member)
