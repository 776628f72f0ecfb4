"""Durable writes, and files in directories that others can write."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from mms_server.core import files, untrusted_files
from mms_server.core.files import FileTooLargeError
from mms_server.core.untrusted_files import NotRegularFileError


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of the calls of fsync, in order."""
    paths: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        paths.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return paths


def test_a_file_is_replaced_whole_and_reaches_the_disk(tmp_path: Path, synced: list[str]) -> None:
    file = tmp_path / "below" / "file"
    files.write_atomically(file, "old")
    opened = file.open()
    synced.clear()
    files.write_atomically(file, "new", mode=0o600)
    assert (opened.read(), file.read_text()) == ("old", "new")
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["file"]
    # First the content, then the name.
    assert synced == [str(file.parent / f".file.{os.getpid()}.tmp"), str(file.parent)]


def test_a_temporary_file_of_a_killed_writer_is_replaced(tmp_path: Path) -> None:
    left = tmp_path / f".file.{os.getpid()}.tmp"
    left.symlink_to(tmp_path / "elsewhere")
    files.write_atomically(tmp_path / "file", "text")
    assert (tmp_path / "file").read_text() == "text"
    assert not (tmp_path / "elsewhere").exists()


def test_a_directory_behind_a_link_is_written_to(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    files.write_atomically(tmp_path / "link" / "file", "text")
    assert (tmp_path / "real" / "file").read_text() == "text"


def test_a_new_file_is_never_an_existing_one(tmp_path: Path, synced: list[str]) -> None:
    with files.new_file(tmp_path / "file", 0o640) as stream:
        stream.write(b"1")
    assert synced == [str(tmp_path / "file")]
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("file", "link"):
        with pytest.raises(FileExistsError), files.new_file(tmp_path / name, 0o640):
            pytest.fail("it was there")


def test_names_are_relative_to_a_directory(tmp_path: Path) -> None:
    directory = files.open_directory(tmp_path)
    try:
        with files.new_file("file", 0o640, directory=directory) as stream:
            stream.write(b"1")
        with untrusted_files.open_regular("file", directory=directory) as stream:
            assert stream.read() == b"1"
    finally:
        os.close(directory)
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(NotADirectoryError):
        files.open_directory(tmp_path / "link")


def test_a_link_is_replaced_by_one_rename(tmp_path: Path) -> None:
    link = tmp_path / "link"
    for target in ("one", "two"):
        (tmp_path / ".link.new").symlink_to("left")
        files.replace_link(link, target)
        assert str(link.readlink()) == target
    assert [path.name for path in tmp_path.iterdir()] == ["link"]


def test_a_link_is_not_synced(tmp_path: Path, synced: list[str]) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(OSError, match="symbolic links") as caught:
        files.sync(tmp_path / "link")
    assert (caught.value.errno, synced) == (errno.ELOOP, [])
    files.sync_directory(tmp_path / "link")
    assert synced == [str(tmp_path)]


def test_a_file_is_read_up_to_a_size(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"12345")
    assert files.read_whole(file, 5) == b"12345"
    with pytest.raises(FileTooLargeError, match="more than 4 bytes"):
        files.read_whole(file, 4)


def test_only_a_regular_file_is_read(tmp_path: Path) -> None:
    file, pipe, link = (tmp_path / name for name in ("file", "pipe", "link"))
    file.write_bytes(b"12345")
    os.mkfifo(pipe)
    link.symlink_to(file)
    assert untrusted_files.read_bounded(file, 3) == b"123"
    assert untrusted_files.read_bounded(file, 3, 3) == b"45"
    for path in (pipe, link, tmp_path, tmp_path / "none"):
        assert untrusted_files.read_bounded(path, 3) == b""
    with untrusted_files.open_regular(file) as stream:
        assert stream.read() == b"12345"
    for path in (pipe, tmp_path):
        with pytest.raises(NotRegularFileError):
            untrusted_files.open_regular(path)
    with pytest.raises(OSError, match="symbolic links"):
        untrusted_files.open_regular(link)


def test_a_file_for_the_group_ignores_the_umask(tmp_path: Path) -> None:
    file = tmp_path / "file"
    before = os.umask(0o777)
    try:
        untrusted_files.replace_group_file(file, b"1")
        untrusted_files.replace_group_file(file, b"2")
    finally:
        os.umask(before)
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"2", 0o660)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    link = tmp_path / "link"
    link.symlink_to(file)
    with pytest.raises(OSError, match="symbolic links"):
        untrusted_files.open_group_file(link, os.O_WRONLY)
