"""Unpack a model archive safely, and check its content (compatibility.md, 8.1 and 8.5).

An archive is untrusted input. Names are reduced to base names. Links and devices are refused.
Sizes are counted while writing, not read from headers. Only a 1.x archive (``.mar``) keeps its
directories, because its handler may import packages.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import struct
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from mms_server.archives import mar
from mms_server.archives.manifest import FILE_NAME, Manifest, find_one
from mms_server.archives.signature import Signature
from mms_server.core.errors import ArchiveError
from mms_server.core.files import (
    FileTooLargeError,
    new_file,
    open_directory,
    read_whole,
    sync_directory,
)

GIB = 1024**3
_CHUNK = 1024 * 1024
_MAX_NAME_BYTES = 255
_MAX_DEPTH = 32
_MAX_TEXT_BYTES = 1024 * 1024
_END_RECORD_BYTES = 22 + 65535
_END_RECORD = b"PK\x05\x06"
_BAD_CHARACTERS = re.compile(r"[\x00-\x1f\x7f\\]")
_DRIVE = re.compile(r"[A-Za-z]:")
_EXPORT_AGAIN = "export the model again with mxnet-model-export."
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
)


@dataclass(frozen=True)
class UnpackLimits:
    """Limits on the content of an archive; sizes are in bytes, after decompression.

    ``ratio`` bounds the unpacked size by the archive's size: weights do not compress a hundredfold.
    Small text files do, so the ratio counts only above ``ratio_floor``.
    """

    members: int = 4096
    member_size: int = 8 * GIB
    total_size: int = 16 * GIB
    ratio: int = 100
    ratio_floor: int = 64 * 1024 * 1024

    def total_for(self, archive_size: int) -> int:
        """Return the largest unpacked size of an archive of this size."""
        return min(self.total_size, max(self.ratio_floor, self.ratio * archive_size))


def unpack(archive: Path, destination: Path, limits: UnpackLimits = UnpackLimits()) -> None:
    """Unpack ``archive`` into the new directory ``destination``, completely or not at all.

    Raises:
        ArchiveError: the file is no archive, exceeds a limit, or has a member whose name or kind is
            refused. Nothing is left behind.
    """
    if destination.exists():
        raise ArchiveError(archive, f"{destination} exists already.", fix="remove it first.")
    destination.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", dir=destination.parent))
    try:
        with _opened(archive, limits) as members:
            _write_members(archive, members, scratch, limits)
        scratch.chmod(0o755)
        sync_directory(scratch)
        scratch.rename(destination)
    except OSError as error:
        raise ArchiveError(
            archive,
            f"it cannot be unpacked: {error.strerror or error}.",
            fix="check the file, its permissions and the free space.",
        ) from error
    except _UNREADABLE as error:
        raise ArchiveError(archive, f"it is damaged: {error}.", fix=_EXPORT_AGAIN) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def check(directory: Path) -> tuple[Manifest, Signature | None]:
    """Return manifest and signature of an unpacked archive (compatibility.md, 8.2).

    A 1.x archive whose handler reads the request itself has no signature.

    Raises:
        ArchiveError: the manifest does not name a required file, or that file is missing.
    """
    if mar.is_mar(directory):
        manifest = mar.read_manifest(_text(directory / mar.MANIFEST), directory)
        if not manifest.signature:
            return manifest, None
        return manifest, Signature.from_json(_text(directory / manifest.signature), directory)
    manifest = Manifest.from_json(_text(directory / FILE_NAME), directory)
    signature = find_one(directory, manifest.signature, "Signature")
    find_one(directory, manifest.service, "Service")
    if manifest.symbolic:
        find_one(directory, manifest.symbol, "Symbol")
    return manifest, Signature.from_json(_text(signature), directory)


@contextmanager
def _opened(archive: Path, limits: UnpackLimits) -> Iterator[zipfile.ZipFile]:
    with archive.open("rb") as stream:
        _check_count(archive, stream, limits)
        try:
            opened = zipfile.ZipFile(stream)
        except zipfile.BadZipFile as error:
            raise ArchiveError(archive, "it is not a ZIP file.", fix=_EXPORT_AGAIN) from error
        with opened:
            yield opened


def _check_count(archive: Path, stream: IO[bytes], limits: UnpackLimits) -> None:
    """Refuse a huge list of files by its declared size, before reading it needs the memory."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - _END_RECORD_BYTES))
    tail = stream.read(_END_RECORD_BYTES)
    at = tail.rfind(_END_RECORD)
    directory_size = struct.unpack_from("<L", tail, at + 12)[0] if at >= 0 else 0
    stream.seek(0)
    most = limits.members * 1024
    if min(directory_size, size) > most:
        raise ArchiveError(
            archive, f"its list of files is larger than {most} bytes.", fix=_EXPORT_AGAIN
        )


def _write_members(
    archive: Path, opened: zipfile.ZipFile, directory: Path, limits: UnpackLimits
) -> None:
    nested = mar.MANIFEST in opened.namelist()
    members = [(_name(archive, info, nested=nested), info) for info in opened.infolist()]
    files = [(name, info) for name, info in members if name]
    if len(files) > limits.members:
        raise ArchiveError(
            archive, f"it holds more than {limits.members} files.", fix=_EXPORT_AGAIN
        )
    _check_collisions(archive, [name for name, _ in files])
    # Made before any member is written: the directory is empty, so no link can redirect them.
    for parent in {PurePosixPath(name).parent for name, _ in files}:
        (directory / parent).mkdir(parents=True, exist_ok=True)
    budget = limits.total_for(archive.stat().st_size)
    descriptor = open_directory(directory)
    try:
        for name, info in files:
            room = min(budget, limits.member_size)
            budget -= _write_member(archive, opened.open(info), name, descriptor, room)
    finally:
        os.close(descriptor)


def _write_member(archive: Path, member: IO[bytes], name: str, directory: int, room: int) -> int:
    """Write one member; return its size. The size that the archive declares is not trusted."""
    written = 0
    with member as source, new_file(name, 0o644, directory=directory) as target:
        while chunk := source.read(_CHUNK):
            written += len(chunk)
            if written > room:
                raise ArchiveError(
                    archive,
                    f"{name} unpacks to more than is allowed for an archive of this size.",
                    fix=_EXPORT_AGAIN,
                )
            target.write(chunk)
        os.fchmod(target.fileno(), 0o644)
    return written


def _name(archive: Path, info: zipfile.ZipInfo, *, nested: bool) -> str:
    """Return the name that a member gets: its base name or path, empty for a directory.

    ``orig_filename`` is the name in the archive; zipfile cuts ``filename`` at a NUL.
    """
    name = info.orig_filename
    parts = name.split("/")
    if (
        not name
        or name.startswith("/")
        or ".." in parts
        or _DRIVE.match(name)
        or _BAD_CHARACTERS.search(name)
    ):
        raise ArchiveError(archive, f"it holds the unsafe name {name!r}.", fix=_EXPORT_AGAIN)
    _check_kind(archive, info)
    if name.endswith("/"):
        return ""
    kept = parts if nested else parts[-1:]
    lengths = [len(part.encode("utf-8", "surrogatepass")) for part in kept]
    unusable = {"", "."} & set(kept) or max(lengths) > _MAX_NAME_BYTES or len(kept) > _MAX_DEPTH
    if unusable:
        raise ArchiveError(archive, f"it holds the unusable name {name!r}.", fix=_EXPORT_AGAIN)
    return "/".join(kept)


def _check_kind(archive: Path, info: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise ArchiveError(
            archive, f"{info.filename} is a link or a device, not a file.", fix=_EXPORT_AGAIN
        )
    if info.flag_bits & 1:
        raise ArchiveError(archive, f"{info.filename} is encrypted.", fix=_EXPORT_AGAIN)
    if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise ArchiveError(
            archive, f"{info.filename} is neither stored nor deflated.", fix=_EXPORT_AGAIN
        )


def _check_collisions(archive: Path, names: list[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        key = unicodedata.normalize("NFC", name).casefold()
        if key in seen:
            raise ArchiveError(
                archive,
                f"{seen[key]!r} and {name!r} are the same name once unpacked.",
                fix="give the files different names and export the model again.",
            )
        seen[key] = name


def _text(path: Path) -> str:
    try:
        return read_whole(path, _MAX_TEXT_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise ArchiveError(
            path.parent,
            f"{path.name} cannot be read: {error.strerror}.",
            fix=_EXPORT_AGAIN,
        ) from error
    except UnicodeDecodeError as error:
        raise ArchiveError(
            path.parent, f"{path.name} is not UTF-8 text.", fix=_EXPORT_AGAIN
        ) from error
    except FileTooLargeError as error:
        raise ArchiveError(
            path.parent, f"{path.name} is larger than {_MAX_TEXT_BYTES} bytes.", fix=_EXPORT_AGAIN
        ) from error
