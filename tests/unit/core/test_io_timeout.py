"""Reading from a file system that stops answering ends at the time limit."""

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
    """A pipe without a writer: reading it blocks, as on a share whose server is down."""
    path = tmp_path / "silent"
    os.mkfifo(path)
    return path


def test_the_value_is_returned_and_an_error_is_raised(tmp_path: Path) -> None:
    assert with_io_timeout(tmp_path.exists, tmp_path) is True
    with pytest.raises(FileNotFoundError):
        with_io_timeout((tmp_path / "none").stat, tmp_path / "none")


def test_an_operation_that_does_not_end_times_out() -> None:
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
    found = list(chunks(tmp_path / "file"))
    assert b"".join(found) == content
    assert all(len(chunk) <= 1024 * 1024 for chunk in found)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        list(chunks(tmp_path))


def test_a_reader_that_stops_early_leaves_no_thread(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(20 * 1024 * 1024))
    found = chunks(tmp_path / "file")
    next(found)
    found.close()  # type: ignore[attr-defined] # of a generator
    deadline = time.monotonic() + 10
    while any(thread.name.endswith("/file") for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_chunk_that_does_not_arrive_times_out(silent: Path) -> None:
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
    # A pipe is not a regular file: these checks would refuse it. The test is for a read that stops
    # in the middle of a file.
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
    """Let the thread that still reads the pipe end."""
    os.close(os.open(silent, os.O_RDWR | os.O_NONBLOCK))
