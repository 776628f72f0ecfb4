"""Archives come from elsewhere: whatever they hold, nothing appears outside and nothing stays."""

from __future__ import annotations

import io
import json
import stat
import struct
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mms_server.archives.extract import UnpackLimits, check, unpack
from mms_server.core.errors import ArchiveError

Build = Callable[[zipfile.ZipFile], None]

SIGNATURE = {
    "inputs": [{"data_name": "data", "data_shape": [0, 3]}],
    "input_type": "application/json",
    "outputs": [{"data_name": "out", "data_shape": [0, 3]}],
    "output_type": "application/json",
}
MANIFEST: dict[str, object] = {
    "Engine": {"MXNet": 1.2},
    "Model-Archive-Version": 0.2,
    "Model-Server": 0.4,
    "License": "Apache 2.0",
    "Model": {
        "Model-Name": "tiny",
        "Model-Format": "MXNet-Symbolic",
        "Service": "*.py",
        "Signature": "signature.json",
        "Symbol": "tiny-symbol.json",
        "Parameters": "tiny-0000.params",
    },
}
FILES = {
    "MANIFEST.json": json.dumps(MANIFEST),
    "signature.json": json.dumps(SIGNATURE),
    "service.py": "",
    "tiny-symbol.json": "{}",
}


def zipped(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes], compress: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", compress) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def member(name: str, mode: int = 0, **attributes: object) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("placeholder")
    info.filename = info.orig_filename = name
    info.external_attr = mode << 16
    for key, value in attributes.items():
        setattr(info, key, value)
    return info


def assert_refused(archive: Path, limits: UnpackLimits | None = None) -> ArchiveError:
    """Unpack between two neighbours; everything beside them must be as before."""
    room = archive.parent / "room"
    (room / "model-neighbour").mkdir(parents=True)
    before = sorted(archive.parent.rglob("*"))
    with pytest.raises(ArchiveError) as caught:
        unpack(archive, room / "model", limits or UnpackLimits())
    assert sorted(archive.parent.rglob("*")) == before
    assert caught.value.fix
    return caught.value


def test_unpacks_flat_by_base_name(tmp_path: Path) -> None:
    archive = zipped(
        tmp_path / "tiny.model",
        (member("assets/", stat.S_IFDIR | 0o755), b""),
        ("assets/deep/vocab.txt", b"words"),
        (member("run.py", stat.S_IFREG | 0o4777), b"pass"),
        ("./signature.json", b"{}"),
    )
    unpack(archive, tmp_path / "store" / "tiny")
    unpacked = {path.name: path for path in (tmp_path / "store" / "tiny").iterdir()}
    assert sorted(unpacked) == ["run.py", "signature.json", "vocab.txt"]
    assert unpacked["vocab.txt"].read_bytes() == b"words"
    assert {stat.S_IMODE(path.stat().st_mode) for path in unpacked.values()} == {0o644}
    assert stat.S_IMODE((tmp_path / "store" / "tiny").stat().st_mode) == 0o755
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["tiny"]


UNSAFE_NAMES = [
    "/etc/passwd",
    "//host/share",
    "..",
    "../evil",
    "../model-neighbour/evil",
    "a/../../evil",
    "a/..",
    "a/../b",
    "..\\evil",
    "a\\b",
    "\\evil",
    "C:/evil",
    "c:evil",
    "nul\x00.py",
    "\x00",
    "line\nbreak",
    "tab\tname",
    "\x7f",
    "escape\x1b[0m",
    ".",
    "a/.",
    "x" * 256,
    "é" * 128,
    "a/" + "x" * 300,
    "../room/../../evil",
    "./../evil",
]


@pytest.mark.parametrize("name", UNSAFE_NAMES)
def test_refuses_unsafe_names(tmp_path: Path, name: str) -> None:
    archive = zipped(tmp_path / "a.model", ("good.txt", b"x"), (member(name), b"evil"))
    assert_refused(archive)


@pytest.mark.parametrize("name", ["../", "/", "a/../"])
def test_refuses_unsafe_directories(tmp_path: Path, name: str) -> None:
    assert_refused(zipped(tmp_path / "a.model", (member(name), b"")))


@pytest.mark.parametrize(
    "kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK]
)
def test_refuses_links_and_devices(tmp_path: Path, kind: int) -> None:
    archive = zipped(tmp_path / "a.model", (member("x", kind | 0o777), b"/etc/passwd"))
    assert "link or a device" in str(assert_refused(archive))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a.txt", "a.txt"),
        ("a/b.txt", "c/b.txt"),
        ("A.txt", "a.TXT"),
        ("straße", "STRASSE"),
        ("caf\u00e9", "cafe\u0301"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_refuses_names_that_collide(tmp_path: Path, first: str, second: str) -> None:
    archive = zipped(tmp_path / "a.model", (first, b"1"), (second, b"2"))
    assert "same name" in str(assert_refused(archive))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_refuses_other_compressions(tmp_path: Path, method: int) -> None:
    assert_refused(zipped(tmp_path / "a.model", ("x", b"data"), compress=method))


def test_refuses_encrypted_members(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.model", ("x", b"data"))
    data = bytearray(archive.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(data)
    assert "encrypted" in str(assert_refused(archive))


@pytest.mark.parametrize("content", [b"", b"PK", b"no archive at all", b"\x00" * 100_000])
def test_refuses_what_is_no_archive(tmp_path: Path, content: bytes) -> None:
    archive = tmp_path / "a.model"
    archive.write_bytes(content)
    assert "not a ZIP file" in str(assert_refused(archive))


def test_a_missing_archive_is_named(tmp_path: Path) -> None:
    assert "No such file" in str(assert_refused(tmp_path / "missing.model"))


def test_refuses_an_existing_destination(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.model", ("x", b"data"))
    with pytest.raises(ArchiveError, match="exists already"):
        unpack(archive, tmp_path)


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.95, 0.999])
def test_refuses_truncated_archives(tmp_path: Path, cut: float) -> None:
    archive = zipped(tmp_path / "a.model", ("x", bytes(range(256)) * 40), ("y", b"data"))
    data = archive.read_bytes()
    archive.write_bytes(data[: int(len(data) * cut)])
    assert_refused(archive)


@pytest.mark.parametrize("compress", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_refuses_damaged_data(tmp_path: Path, compress: int) -> None:
    body = bytes(range(256)) * 40
    archive = zipped(tmp_path / "a.model", ("x", body), compress=compress)
    data = bytearray(archive.read_bytes())
    data[60] ^= 0xFF
    archive.write_bytes(data)
    assert "damaged" in str(assert_refused(archive))


def test_the_cap_on_members(tmp_path: Path) -> None:
    limits = UnpackLimits(members=3)
    unpack(zipped(tmp_path / "a", *((f"{n}", b"") for n in range(3))), tmp_path / "ok", limits)
    assert_refused(zipped(tmp_path / "b", *((f"{n}", b"") for n in range(4))), limits)


def test_the_cap_on_one_member(tmp_path: Path) -> None:
    limits = UnpackLimits(member_size=1000)
    unpack(zipped(tmp_path / "a", ("x", b"1" * 1000)), tmp_path / "ok", limits)
    assert_refused(zipped(tmp_path / "b", ("x", b"1" * 1001)), limits)


def test_the_cap_on_the_total(tmp_path: Path) -> None:
    limits = UnpackLimits(total_size=1000)
    unpack(zipped(tmp_path / "a", ("x", b"1" * 500), ("y", b"1" * 500)), tmp_path / "ok", limits)
    assert_refused(zipped(tmp_path / "b", ("x", b"1" * 500), ("y", b"1" * 501)), limits)


def test_a_bomb_is_refused_early(tmp_path: Path) -> None:
    archive = tmp_path / "bomb.model"
    block = bytes(64 * 1024 * 1024)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as opened:
        for number in range(4):
            opened.writestr(f"zeros-{number}", block)
    limits = UnpackLimits(ratio_floor=1024 * 1024, ratio=20)
    started = time.monotonic()
    assert "allowed for an archive of this size" in str(assert_refused(archive, limits))
    assert time.monotonic() - started < 2


def test_a_declared_size_is_not_believed(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.model", ("x", b"1" * 5000), compress=zipfile.ZIP_DEFLATED)
    data = bytearray(archive.read_bytes())
    struct.pack_into("<L", data, data.index(b"PK\x01\x02") + 24, 10)
    archive.write_bytes(data)
    assert_refused(archive)


def test_a_huge_directory_is_refused_unread(tmp_path: Path) -> None:
    archive = tmp_path / "a.model"
    directory = 8 * 1024 * 1024
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 65535, 65535, directory, 0, 0)
    archive.write_bytes(bytes(directory) + end)
    assert "list of files" in str(assert_refused(archive))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(
                st.sampled_from(["a", "B", "b", "/", "\\", ".", "..", "\x00", ":", "é", " "])
                | st.characters(codec="utf-8"),
                max_size=8,
            ).map("".join),
            st.binary(max_size=20),
        ),
        max_size=5,
    )
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_no_made_archive_escapes(members: list[tuple[str, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        top = Path(directory)
        archive = zipped(top / "made.model", *((member(name), data) for name, data in members))
        room = top / "room"
        room.mkdir()
        try:
            unpack(archive, room / "model")
        except ArchiveError:
            assert list(room.iterdir()) == []
        else:
            assert list(room.iterdir()) == [room / "model"]
            assert all(path.is_file() for path in (room / "model").iterdir())
        assert sorted(path.name for path in top.iterdir()) == ["made.model", "room"]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 400))
def test_no_damaged_archive_gets_past(noise: bytes, place: int) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("a.txt", b"some text " * 20)
    data = bytearray(buffer.getvalue())
    data[place : place + len(noise)] = noise
    with tempfile.TemporaryDirectory() as directory:
        archive = Path(directory) / "a.model"
        archive.write_bytes(data)
        try:
            unpack(archive, Path(directory) / "model")
        except ArchiveError:
            assert [path.name for path in Path(directory).iterdir()] == ["a.model"]


def unpacked(directory: Path, **changes: str | None) -> Path:
    for name, text in {**FILES, **changes}.items():
        if text is not None:
            (directory / name).write_text(text)
    return directory


def manifest(**changes: object) -> str:
    model = {**MANIFEST["Model"], **changes}  # type: ignore[dict-item]
    return json.dumps({**MANIFEST, "Model": model})


def test_check_returns_manifest_and_signature(tmp_path: Path) -> None:
    found, signature = check(unpacked(tmp_path))
    assert found.model_name == "tiny"
    assert found.symbolic
    assert signature.inputs[0].data_name == "data"


def test_a_gluon_model_needs_no_symbol(tmp_path: Path) -> None:
    text = manifest(**{"Model-Format": "Gluon-Imperative", "Symbol": ""})
    found, _ = check(unpacked(tmp_path, **{"MANIFEST.json": text, "tiny-symbol.json": None}))
    assert not found.symbolic


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"MANIFEST.json": None}, "MANIFEST.json cannot be read"),
        ({"MANIFEST.json": "{"}, "not valid JSON"),
        ({"MANIFEST.json": json.dumps({**MANIFEST, "Model-Server": "0.4"})}, "not a number"),
        ({"MANIFEST.json": json.dumps({**MANIFEST, "Engine": []})}, "Engine"),
        ({"MANIFEST.json": manifest(Signature="other.json")}, "Signature file other.json"),
        ({"MANIFEST.json": manifest(Service="")}, "Model.Service"),
        ({"MANIFEST.json": manifest(Service="../x.py")}, "not in the archive"),
        ({"MANIFEST.json": manifest(Symbol="")}, "Symbol file not defined"),
        ({"MANIFEST.json": manifest(Symbol="*.json")}, "several files"),
        ({"tiny-symbol.json": None}, "Symbol file tiny-symbol.json"),
        ({"service.py": None}, "Service file"),
        ({"signature.json": "[]"}, "not a JSON object"),
        ({"signature.json": " " * 2_000_000}, "larger than"),
    ],
)
def test_check_refuses(tmp_path: Path, changes: dict[str, str | None], says: str) -> None:
    with pytest.raises(ArchiveError, match=says) as caught:
        check(unpacked(tmp_path, **changes))
    assert caught.value.fix
