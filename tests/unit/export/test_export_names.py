"""Tests of names in the exporter: of the model, of the archive, and of its members."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest

from mms_server.archives.extract import unpack
from mms_server.core.errors import MMSError
from mms_server.export import packer
from tests.fixtures.tiny_model import export


def test_files_of_subdirectories_are_packed_with_relative_names(
    source: Path, tmp_path: Path
) -> None:
    for place in ("assets/words", ".git", "__pycache__"):
        (source / place).mkdir(parents=True)
        (source / place / "deep.txt").write_text(place)
    (source / ".DS_Store").write_text("")
    (source / ".hidden").write_text("as 0.4 did")
    (source / "assets" / "extra.params").write_bytes(b"not the model's")
    (source / "mms-golden.json").write_text("of another export")
    archive = export(source, tmp_path / "tiny.model")
    with zipfile.ZipFile(archive) as opened:
        assert opened.namelist() == [
            ".hidden",
            "assets/extra.params",
            "assets/words/deep.txt",
            "signature.json",
            "synset.txt",
            "tiny-0003.params",
            "tiny-symbol.json",
            "vocabulary.txt",
            "mxnet_vision_service.py",
            "MANIFEST.json",
        ]
    unpack(archive, tmp_path / "unpacked")
    assert (tmp_path / "unpacked" / "deep.txt").read_text() == "assets/words"


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["a/x.txt", "b/x.txt"], "'a/x.txt' and 'b/x.txt' would be the same file"),
        (["a/X.txt", "x.txt"], "would be the same file"),
        (["a/MANIFEST.json"], "would be the same file"),
        (["a/mxnet_vision_service.py"], "would be the same file"),
        (["caf\u00e9.txt", "a/cafe\u0301.txt"], "would be the same file"),
        (["a\nb"], "unusable name"),
        (["a\\b"], "unusable name"),
        (["C:b"], "unusable name"),
    ],
)
def test_names_that_cannot_be_unpacked_are_refused(
    source: Path, tmp_path: Path, names: list[str], says: str
) -> None:
    for name in names:
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text(name)
    with pytest.raises(MMSError, match=re.escape(says)):
        export(source, tmp_path / "tiny.model")


def test_a_link_to_a_directory_is_refused(source: Path, tmp_path: Path) -> None:
    (source / "loop").symlink_to(source)
    with pytest.raises(MMSError, match="link to a directory"):
        export(source, tmp_path / "tiny.model")


def test_a_failed_write_leaves_no_file(tmp_path: Path) -> None:
    members = {"a": b"there", "b": tmp_path / "missing"}
    with pytest.raises(FileNotFoundError):
        packer.write(tmp_path / "tiny.model", members)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "../a", "a\nb"])
def test_bad_model_names_are_refused(source: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(MMSError, match="no usable model name"):
        export(source, tmp_path / "tiny.model", name=name)


def test_an_existing_archive_is_not_overwritten(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "tiny.model"
    target.write_bytes(b"precious")
    with pytest.raises(MMSError, match="already exists"):
        export(source, target)
    assert target.read_bytes() == b"precious"


def test_an_epoch_that_no_server_would_find_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(MMSError, match="epoch 3 is only found"):
        export(source, tmp_path / "other.model", name="other")
    (source / "tiny-0003.params").rename(source / "tiny-0000.params")
    assert export(source, tmp_path / "other.model", name="other").is_file()
