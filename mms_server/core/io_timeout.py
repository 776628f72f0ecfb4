"""Reading from a file system that may stop to answer: with a time limit.

A file system mounted `hard`, as EFS asks for, holds a process that reads until the server is back.
The kernel lets nothing but the end of the process interrupt that. So reading is done in a thread of
its own, and whoever waits for it gives up; the thread ends with the process.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

from mms_server.core.errors import SilentFileSystemError

LIMIT_S: Final = 30.0
"""Longest wait for one answer of a file system: one look, or one piece of a file."""

_CHUNK: Final = 1024 * 1024
_AHEAD: Final = 4

T = TypeVar("T")


def with_io_timeout(act: Callable[[], T], path: Path, limit_s: float = LIMIT_S) -> T:
    """Return what ``act``, which looks at ``path``, returns; raise what it raises.

    Raises:
        SilentFileSystemError: it did not end within ``limit_s`` seconds.
    """
    answers: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue()

    def look() -> None:
        try:
            answers.put((act(), None))
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            answers.put((None, error))

    threading.Thread(target=look, daemon=True, name=f"read {path}").start()
    value, error = _next(answers, path, limit_s)
    if error is not None:
        raise error
    return value  # type: ignore[return-value] # what act returned


def chunks(path: Path, limit_s: float = LIMIT_S) -> Iterator[bytes]:
    """Yield the content of a file, in pieces of a MiB; each may take ``limit_s`` seconds.

    Raises:
        OSError: it cannot be read.
        SilentFileSystemError: a piece did not come.
    """
    # Bounded: what is read ahead waits in memory.
    pieces: queue.Queue[bytes | OSError] = queue.Queue(_AHEAD)
    given_up = threading.Event()

    def read() -> None:
        try:
            with path.open("rb") as stream:
                while piece := stream.read(_CHUNK):
                    if not _put(pieces, piece, given_up):
                        return
            _put(pieces, b"", given_up)
        except OSError as error:
            _put(pieces, error, given_up)

    threading.Thread(target=read, daemon=True, name=f"read {path}").start()
    try:
        while piece := _next(pieces, path, limit_s):
            if isinstance(piece, OSError):
                raise piece
            yield piece
    finally:
        given_up.set()


def _next(source: queue.Queue[T], path: Path, limit_s: float) -> T:
    try:
        return source.get(timeout=limit_s)
    except queue.Empty:
        raise SilentFileSystemError(path, limit_s) from None


def _put(
    pieces: queue.Queue[bytes | OSError], piece: bytes | OSError, off: threading.Event
) -> bool:
    """Hand a piece over, unless nobody waits for it any more; return whether it was taken."""
    while not off.is_set():
        try:
            pieces.put(piece, timeout=1.0)
        except queue.Full:
            continue
        return True
    return False
