"""The journal: a line of JSON for each change of the fleet, on the share and on each host."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mms_server.core.files import open_nofollow
from mms_server.core.io_timeout import with_io_timeout

MAX_BYTES: Final = 4 * 1024 * 1024
"""Size at which a journal is rotated: the old file is kept as `<name>.1`."""


def append(file: Path, record: Mapping[str, Any], max_bytes: int = MAX_BYTES) -> None:
    """Add a record; a power cut loses at most that record.

    Raises:
        OSError: the journal cannot be written.
        SilentFileSystemError: the file system does not answer.
    """
    line = json.dumps(record, sort_keys=True) + "\n"
    with_io_timeout(lambda: _append(file, line.encode(), max_bytes), file)


def read(file: Path, most: int) -> list[dict[str, Any]]:
    """Return the newest ``most`` records, oldest first, without incomplete lines.

    Raises:
        OSError: the journal cannot be read.
        SilentFileSystemError: the file system does not answer.
    """
    try:
        lines = with_io_timeout(
            lambda: file.read_text("utf-8", errors="replace"), file
        ).splitlines()
    except FileNotFoundError:
        return []
    records = []
    for line in lines[-most:] if most else []:
        try:
            records.append(json.loads(line))
        except ValueError:
            continue
    return records


def _append(file: Path, line: bytes, max_bytes: int) -> None:
    if file.exists() and file.stat().st_size + len(line) > max_bytes:
        file.replace(file.with_name(f"{file.name}.1"))
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = open_nofollow(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        # An interrupted writer may have left a line without an end: begin a new line.
        torn = size and os.pread(descriptor, 1, size - 1) != b"\n"
        os.write(descriptor, b"\n" + line if torn else line)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
