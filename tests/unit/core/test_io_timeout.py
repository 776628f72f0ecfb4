"""A file system that stops to answer stops nobody for long."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from mms_server.archives.content_store import Store
from mms_server.config import mms_conf
from mms_server.core import io_timeout
from mms_server.core.errors import SilentFileSystemError
from mms_server.core.io_timeout import chunks, with_io_timeout


@pytest.fixture
def silent(tmp_path: Path) -> Path:
    """A file whose reader waits for as long as nobody writes, as on a share that was lost."""
    path = tmp_path / "silent"
    os.mkfifo(path)
    return path


def test_what_was_found_is_returned_and_raised(tmp_path: Path) -> None:
    assert with_io_timeout(tmp_path.exists, tmp_path) is True
    with pytest.raises(FileNotFoundError):
        with_io_timeout((tmp_path / "none").stat, tmp_path / "none")


def test_a_look_that_does_not_end_is_given_up() -> None:
    began, never = time.monotonic(), threading.Event()
    with pytest.raises(SilentFileSystemError) as caught:
        with_io_timeout(lambda: never.wait(30), Path("/efs/x"), 0.1)
    never.set()
    assert time.monotonic() - began < 10
    assert str(caught.value).startswith("/efs/x: the file system did not answer within 0.1 s. Fix:")
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("size", [0, 1, 1024 * 1024, 9 * 1024 * 1024 + 1])
def test_a_file_comes_whole(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    (tmp_path / "file").write_bytes(content)
    pieces = list(chunks(tmp_path / "file"))
    assert b"".join(pieces) == content
    assert all(len(piece) <= 1024 * 1024 for piece in pieces)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        list(chunks(tmp_path))


def test_who_stops_to_read_leaves_no_thread_behind(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(20 * 1024 * 1024))
    pieces = chunks(tmp_path / "file")
    next(pieces)
    pieces.close()  # type: ignore[attr-defined] # of a generator
    deadline = time.monotonic() + 10
    while any(each.name.endswith("/file") for each in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_piece_that_does_not_come_is_given_up(silent: Path) -> None:
    with pytest.raises(SilentFileSystemError):
        list(chunks(silent, 0.1))
    release(silent)


def test_mms_conf_on_a_silent_share(silent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        mms_conf, "with_io_timeout", lambda act, path: with_io_timeout(act, path, 0.1)
    )
    with pytest.raises(SilentFileSystemError, match="silent"):
        mms_conf.read(silent)
    release(silent)


def test_an_archive_on_a_silent_share(
    tmp_path: Path, silent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A pipe is no file; a share that stops in the middle of one is what is meant.
    monkeypatch.setattr(
        "mms_server.archives.content_store.with_io_timeout", lambda act, path: True if act else path
    )
    monkeypatch.setattr("mms_server.archives.content_store._is_directory", lambda _path: False)
    monkeypatch.setattr(
        "mms_server.archives.content_store.chunks", lambda path: io_timeout.chunks(path, 0.1)
    )
    store = Store(tmp_path / "store", 1024)
    with pytest.raises(SilentFileSystemError):
        store.add_archive(silent)
    assert not list((tmp_path / "store").glob("*"))
    release(silent)


def release(silent: Path) -> None:
    """Let the thread that still reads end."""
    os.close(os.open(silent, os.O_RDWR | os.O_NONBLOCK))
