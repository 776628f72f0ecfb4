"""Reading with a time limit from a file system that may stop answering, such as NFS or EFS.

On a file system mounted `hard`, as EFS requires, a read blocks until the server is back. The kernel
lets nothing but the end of the process interrupt it. So another thread reads, and the caller stops
waiting after the time limit. The blocked thread ends with the process.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

from mms_server.core.errors import SilentFileSystemError

LIMIT_S: Final = 30.0
"""The time limit for one operation on a file system, or for one chunk of a file."""

_CHUNK_BYTES: Final = 1024 * 1024
_READ_AHEAD_CHUNKS: Final = 4

T = TypeVar("T")


def with_io_timeout(operation: Callable[[], T], path: Path, limit_s: float = LIMIT_S) -> T:
    """Return the value of ``operation``, which reads ``path``; raise the errors that it raises.

    Raises:
        SilentFileSystemError: the operation did not end within ``limit_s`` seconds.
    """
    results: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue()

    def work() -> None:
        try:
            results.put((operation(), None))
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            results.put((None, error))

    threading.Thread(target=work, daemon=True, name=f"read {path}").start()
    value, error = _next(results, path, limit_s)
    if error is not None:
        raise error
    return value  # type: ignore[return-value] # of the operation: None only if T has it


def chunks(path: Path, limit_s: float = LIMIT_S) -> Iterator[bytes]:
    """Yield the content of a file in chunks of 1 MiB; each may take ``limit_s`` seconds.

    Raises:
        OSError: the file cannot be read.
        SilentFileSystemError: a chunk did not arrive within ``limit_s`` seconds.
    """
    # Bounded: the chunks that are read ahead are in memory.
    arrived: queue.Queue[bytes | OSError] = queue.Queue(_READ_AHEAD_CHUNKS)
    stop = threading.Event()

    def read() -> None:
        try:
            with path.open("rb") as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    if not _put(arrived, chunk, stop):
                        return
            _put(arrived, b"", stop)
        except OSError as error:
            _put(arrived, error, stop)

    threading.Thread(target=read, daemon=True, name=f"read {path}").start()
    try:
        while chunk := _next(arrived, path, limit_s):
            if isinstance(chunk, OSError):
                raise chunk
            yield chunk
    finally:
        stop.set()


def _next(source: queue.Queue[T], path: Path, limit_s: float) -> T:
    try:
        return source.get(timeout=limit_s)
    except queue.Empty:
        raise SilentFileSystemError(path, limit_s) from None


def _put(
    target: queue.Queue[bytes | OSError], item: bytes | OSError, stop: threading.Event
) -> bool:
    """Put an item into the queue until ``stop`` is set; return whether it was put."""
    while not stop.is_set():
        try:
            target.put(item, timeout=1.0)
        except queue.Full:
            continue
        return True
    return False
