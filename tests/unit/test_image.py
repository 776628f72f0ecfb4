"""Pictures are judged by their headers, before anything is decoded."""

from __future__ import annotations

import io
import struct
import time
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mms_server.errors import BodyTooLargeError
from mms_server.image import require_complete, require_small


def picture(kind: str, side: int = 40, **options: object) -> bytes:
    target = io.BytesIO()
    pixels = Image.effect_noise((side, side), 50).convert("RGB")
    pixels.save(target, kind, **options)
    return target.getvalue()


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"")


@pytest.mark.parametrize(
    "data",
    [
        picture("JPEG"),
        picture("JPEG", progressive=True),
        picture("JPEG", comment=b"\xff\xd9" * 50),
        picture("JPEG", quality=100, subsampling=0),
        picture("JPEG") + b"trailing bytes",
        picture("PNG"),
        picture("BMP"),
        picture("TIFF"),
    ],
)
def test_complete_pictures_pass(data: bytes) -> None:
    require_complete(data)
    require_small(data, 1600)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.5, 0.9])
def test_cut_pictures_are_refused(kind: str, share: float) -> None:
    data = picture(kind)
    with pytest.raises(ValueError, match="not a complete picture"):
        require_complete(data[: int(len(data) * share)])


def test_an_embedded_thumbnail_is_no_end() -> None:
    small = picture("JPEG", 8)
    thumbnail = b"\xff\xe1" + struct.pack(">H", 2 + len(small)) + small
    data = picture("JPEG")
    whole = data[:2] + thumbnail + data[2:]
    require_complete(whole)
    with pytest.raises(ValueError, match="has no end"):
        require_complete(whole[:-30])


@pytest.mark.parametrize("data", [b"", b"text", b"\x00" * 1000, picture("GIF"), picture("WEBP")])
def test_what_is_no_picture(data: bytes) -> None:
    require_small(data, 1)
    with pytest.raises(ValueError, match="not a complete picture"):
        require_complete(data)


@pytest.mark.parametrize(
    ("width", "height"), [(101, 100), (40_000, 1), (20_000, 20_000), (2**31 - 1, 2**31 - 1)]
)
def test_large_pictures_are_refused_unread(width: int, height: int) -> None:
    started = time.monotonic()
    with pytest.raises(BodyTooLargeError, match="limit"):
        require_small(png_header(width, height), 10_000)
    assert time.monotonic() - started < 0.1


def test_the_limit_itself_passes() -> None:
    require_small(png_header(100, 100), 10_000)


@given(st.binary(max_size=300), st.integers(0, 700))
def test_damage_is_a_refusal_or_nothing(noise: bytes, place: int) -> None:
    for kind in ("JPEG", "PNG"):
        data = bytearray(picture(kind, 8))
        data[place : place + len(noise)] = noise
        try:
            require_small(bytes(data), 64)
            require_complete(bytes(data))
        except (BodyTooLargeError, ValueError):
            continue
