"""Fuzz tests of archives: any bytes unpack into the store's entry or raise ArchiveError.

Nothing is written elsewhere, and a refused archive leaves no files.
"""

from __future__ import annotations

import io
import json
import shutil
import stat
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from mms_server.archives.extract import UnpackLimits, check, unpack
from mms_server.core.errors import ArchiveError

pytestmark = pytest.mark.filterwarnings("ignore:Duplicate name")

SMALL = UnpackLimits(members=8, member_size=4096, total_size=16384, ratio_floor=16384)

_NAMES = st.one_of(
    st.sampled_from(
        (
            *("MANIFEST.json", "signature.json", "a/b", "a//b", "a/", "/etc/passwd", "../x", ".."),
            *(
                "a/../../x",
                "C:\\x",
                "..\\x",
                "a\\b",
                ".",
                "",
                "x\0y",
                "A",
                "a",
                "\u00c4",
                "A\u0308",
            ),
            *("x" * 255, "x" * 256, "\u20ac" * 86, "con", "-rf", "a\nb", "./a", "a/./b"),
        )
    ),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12),
)
_DATA = st.one_of(
    st.binary(max_size=64),
    st.sampled_from((b"", b"0" * 4096, b"0" * 4097, b"{}", b"null", b"[[" * 2000)),
)
_MODES = st.sampled_from(
    (0, 0o644, stat.S_IFREG | 0o6777, stat.S_IFLNK | 0o777, stat.S_IFDIR | 0o755, stat.S_IFIFO)
)


@dataclass(frozen=True)
class Member:
    name: str
    data: bytes
    mode: int
    kind: int
    encrypted: bool


_MEMBERS = st.builds(
    Member,
    _NAMES,
    _DATA,
    _MODES,
    st.sampled_from((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)),
    st.booleans().flatmap(lambda one: st.booleans().map(lambda two: one and two)),
)


def _zip(members: list[Member]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for member in members:
            info = zipfile.ZipInfo("placeholder")
            # Set after construction, because the constructor truncates a name at NUL.
            info.filename = info.orig_filename = member.name
            info.compress_type = member.kind
            info.external_attr = member.mode << 16
            archive.writestr(info, member.data)
            info.flag_bits |= member.encrypted
    return target.getvalue()


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    """Return a ZIP with changed bytes, truncated, or with other data around it."""
    data = bytearray(_zip(draw(st.lists(_MEMBERS, max_size=10))))
    for place, value in draw(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)))):
        data[place % len(data)] = value
    # Change sizes and offsets in the records of the directory.
    for place, value in draw(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 2**32 - 1)))):
        if len(data) >= 4:
            struct.pack_into("<L", data, place % (len(data) - 3), value)
    cut = draw(st.integers(0, len(data)))
    return bytes(draw(st.sampled_from((data, data[:cut], data[cut:], data + data, b"#!" + data))))


_ARCHIVES = st.one_of(
    st.lists(_MEMBERS, max_size=10).map(_zip), _damaged(), st.binary(max_size=100)
)


@settings(max_examples=settings().max_examples * 5)
@example(b"")
@example(b"PK\x05\x06" + b"\0" * 18)
@given(_ARCHIVES)
def test_any_archive(place: Path, data: bytes) -> None:
    archive, around = place / "m.model", place.parent
    archive.write_bytes(data)
    before = _tree(around)
    destination = place / "store" / "m"
    try:
        unpack(archive, destination, SMALL)
    except ArchiveError as error:
        event("refused")
        assert error.cause
        assert not destination.exists()
        assert list((place / "store").iterdir()) == []
    else:
        event("unpacked")
        files = list(destination.iterdir())
        assert len(files) <= SMALL.members
        assert sum(file.lstat().st_size for file in files) <= SMALL.total_size
        for file in files:
            assert stat.S_IFMT(file.lstat().st_mode) == stat.S_IFREG
            assert stat.S_IMODE(file.lstat().st_mode) == 0o644
        _check(destination)
    finally:
        shutil.rmtree(place / "store", ignore_errors=True)
    assert _tree(around) == before


@given(
    manifest=st.one_of(st.binary(max_size=80), st.text().map(str.encode)),
    signature=st.one_of(st.binary(max_size=80), st.text().map(str.encode)),
    values=st.dictionaries(
        st.sampled_from(("Model-Name", "Model-Format", "Service", "Signature", "Symbol")),
        st.one_of(st.none(), st.integers(), st.text(max_size=5), st.lists(st.integers())),
    ),
)
def test_any_manifest_and_signature(
    place: Path, manifest: bytes, signature: bytes, values: dict[str, object]
) -> None:
    (place / "signature.json").write_bytes(signature)
    (place / "service.py").touch()
    (place / "m-symbol.json").touch()
    model = {
        "Model-Name": "m",
        "Model-Format": "MXNet-Symbolic",
        "Service": "service.py",
        "Signature": "signature.json",
        "Symbol": "m-symbol.json",
        **values,
    }
    whole = {"Model-Archive-Version": 0.2, "Model-Server": 0.4, "Engine": {}, "Model": model}
    for content in (manifest, json_bytes(whole)):
        (place / "MANIFEST.json").write_bytes(content)
        _check(place)


def json_bytes(value: object) -> bytes:
    return json.dumps(value).encode()


def _check(directory: Path) -> None:
    try:
        check(directory)
    except ArchiveError as error:
        assert error.cause


def _tree(directory: Path) -> list[tuple[str, int]]:
    rows = sorted(path for path in directory.rglob("*"))
    return [(str(path), path.lstat().st_size) for path in rows]
