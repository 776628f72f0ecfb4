"""The store: by content, whole or absent, read-only."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import pytest

from mms_server.archives import golden_samples
from mms_server.archives.content_store import Store
from mms_server.core.errors import ArchiveError
from tests.fixtures.fake_host import write_archive

_ROOM = 1024 * 1024


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", _ROOM)


def test_an_entry_is_named_by_its_content_and_read_only(store: Store, tmp_path: Path) -> None:
    source = write_archive(tmp_path / "x.model", "1")
    digest = store.add_archive(source)
    assert digest == hashlib.sha256(source.read_bytes()).hexdigest()
    entry = store.entry(digest)
    assert (entry / "MANIFEST.json").is_file()
    modes = {stat.S_IMODE(path.stat().st_mode) for path in entry.iterdir()}
    assert modes == {0o444}
    assert stat.S_IMODE(entry.stat().st_mode) == 0o555
    assert [path.name for path in (tmp_path / "store").iterdir()] == [digest]


def test_the_same_content_under_another_name_is_the_same_entry(
    store: Store, tmp_path: Path
) -> None:
    first = store.add_archive(write_archive(tmp_path / "x.model", "1"))
    assert store.add_archive((tmp_path / "x.model").rename(tmp_path / "y.model")) == first
    assert store.add_archive(write_archive(tmp_path / "x.model", "2")) != first


def test_a_directory_is_an_unpacked_archive(store: Store, tmp_path: Path) -> None:
    entry = store.entry(store.add_archive(write_archive(tmp_path / "x.model", "1")))
    digest = store.add_archive(entry)
    assert digest == store.digest(entry)
    assert (store.entry(digest) / "tiny-0000.params").read_text() == "1"
    changed = tmp_path / "changed"
    changed.mkdir()
    for path in entry.iterdir():
        (changed / path.name).write_bytes(path.read_bytes())
    (changed / "more").mkdir()
    (changed / "more/words.txt").write_text("x")
    other = store.add_archive(changed)
    assert other != digest
    assert (store.entry(other) / "more/words.txt").read_text() == "x"


def test_a_file(store: Store, tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text("pass")
    assert (store.entry(store.add_file(tmp_path / "my.py")) / "my.py").read_text() == "pass"


def _no_zip(directory: Path) -> Path:
    (directory / "bad.model").write_text("no zip")
    return directory / "bad.model"


def _no_model(directory: Path) -> Path:
    (directory / "empty").mkdir()
    return directory / "empty"


def _too_large(directory: Path) -> Path:
    (directory / "large.model").write_bytes(b"x" * (_ROOM + 1))
    return directory / "large.model"


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (_no_zip, "not a ZIP file"),
        (_no_model, r"MANIFEST\.json"),
        (_too_large, "larger than"),
        (lambda directory: directory / "none", "not a file"),
        (lambda _directory: Path("/dev/zero"), "not a file"),
    ],
)
def test_what_is_no_model_leaves_nothing(
    store: Store, tmp_path: Path, make: object, cause: str
) -> None:
    assert callable(make)
    source = make(tmp_path)
    for act in (store.add_archive, store.check_archive):
        with pytest.raises(ArchiveError, match=cause) as caught:
            act(source)
        assert caught.value.archive == str(source)
        assert caught.value.fix
    assert not (tmp_path / "store").exists() or not any((tmp_path / "store").iterdir())


def test_a_check_stores_nothing(store: Store, tmp_path: Path) -> None:
    source = write_archive(tmp_path / "x.model", "1")
    digest = store.check_archive(source)
    assert not (tmp_path / "store").exists()
    assert store.add_archive(source) == digest


def test_what_is_not_kept_is_removed_with_what_a_kill_left(store: Store, tmp_path: Path) -> None:
    kept = store.add_archive(write_archive(tmp_path / "x.model", "1"))
    gone = store.add_archive(write_archive(tmp_path / "x.model", "2"))
    (tmp_path / "store/.new-abc/content").mkdir(parents=True)
    assert store.remove_all_but({kept}) == sorted([".new-abc", gone])
    assert [path.name for path in (tmp_path / "store").iterdir()] == [kept]


def test_what_is_in_an_archive_is_known_before_and_after_it_is_taken(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "m.model", "12345")
    store = Store(tmp_path / "store", 10**6)
    digest = store.check_archive(archive)
    checked = store.content(digest)
    assert not checked.golden
    assert store.add_archive(archive) == digest
    assert Store(tmp_path / "store", 10**6).content(digest) == checked
    with pytest.raises(KeyError):
        store.content("0" * 64)


def test_samples_are_an_entry_of_their_own(tmp_path: Path) -> None:
    directory, store = tmp_path / "m.model.golden", Store(tmp_path / "store", 10**6)
    directory.mkdir()
    for act in (store.check_samples, store.add_samples):
        with pytest.raises(ArchiveError, match="holds no golden samples"):
            act(directory)
    (directory / golden_samples.FILE_NAME).write_text("{}")
    with pytest.raises(ArchiveError, match="its format is not 1"):
        store.add_samples(directory)
    for name, content in golden_samples.encode([golden_samples.Sample((b"picture",), 1)]).items():
        (directory / name).write_bytes(content)
    digest = store.check_samples(directory)
    assert not store.has(digest)
    assert store.add_samples(directory) == digest
    assert golden_samples.read(store.entry(digest)) == golden_samples.read(directory)
    with pytest.raises(ArchiveError, match="larger than 5 bytes"):
        Store(tmp_path / "small", 5).add_samples(directory)
    assert not (tmp_path / "small").exists()
