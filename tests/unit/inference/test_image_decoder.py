"""Pictures are checked by their headers, before they are decoded."""

from __future__ import annotations

import io
import struct
import time
import zlib

import mxnet as mx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile

from mms_server.config.request_limits import RequestLimits
from mms_server.core.errors import BodyTooLargeError
from mms_server.inference import picture_formats
from mms_server.inference.image_decoder import decode, require_complete, require_small
from mms_server.inference.services import image
from tests.fixtures.servers import ROOT


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
        *(picture(name) for name in picture_formats.NAMES),
    ],
)
def test_complete_pictures_pass(data: bytes) -> None:
    require_complete(data)
    require_small(data, RequestLimits(max_pixels=1600))


def test_the_documents_name_the_formats() -> None:
    text = (ROOT / "docs/http_api.md").read_text(encoding="utf-8")
    assert f"* A picture is a {picture_formats.as_text()} file" in text


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.5, 0.9])
def test_cut_pictures_are_refused(kind: str, share: float) -> None:
    data = picture(kind)
    with pytest.raises(ValueError, match="not a complete picture"):
        require_complete(data[: int(len(data) * share)])


def test_the_end_of_an_embedded_thumbnail_does_not_count() -> None:
    small = picture("JPEG", 8)
    thumbnail = b"\xff\xe1" + struct.pack(">H", 2 + len(small)) + small
    data = picture("JPEG")
    whole = data[:2] + thumbnail + data[2:]
    require_complete(whole)
    with pytest.raises(ValueError, match="has no end"):
        require_complete(whole[:-30])


@pytest.mark.parametrize("data", [b"", b"text", b"\x00" * 1000, picture("GIF"), picture("WEBP")])
def test_data_of_no_known_format(data: bytes) -> None:
    require_small(data, RequestLimits(max_pixels=1))
    with pytest.raises(ValueError, match="not a complete picture"):
        require_complete(data)


@pytest.mark.parametrize(
    ("width", "height"), [(101, 100), (40_000, 1), (20_000, 20_000), (2**31 - 1, 2**31 - 1)]
)
def test_large_pictures_are_refused_by_their_header(width: int, height: int) -> None:
    started = time.monotonic()
    with pytest.raises(BodyTooLargeError, match="limit"):
        require_small(png_header(width, height), RequestLimits(max_pixels=10_000))
    assert time.monotonic() - started < 0.1


def test_the_limit_itself_passes() -> None:
    require_small(png_header(100, 100), RequestLimits(max_pixels=10_000))


@given(st.binary(max_size=300), st.integers(0, 700))
def test_damage_is_refused_or_passes(noise: bytes, place: int) -> None:
    for kind in ("JPEG", "PNG"):
        data = bytearray(picture(kind, 8))
        data[place : place + len(noise)] = noise
        try:
            require_small(bytes(data), RequestLimits(max_pixels=64))
            require_complete(bytes(data))
        except (BodyTooLargeError, ValueError):
            continue


@pytest.fixture
def whole_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Pillow write noise: it would run out of room for it."""
    monkeypatch.setattr(ImageFile, "MAXBLOCK", 1 << 24)


@pytest.mark.usefixtures("whole_blocks")
@pytest.mark.parametrize("side", [8, 33, 224])
@pytest.mark.parametrize("quality", [10, 75, 95])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
def test_pixels_are_those_of_the_engine(
    side: int, quality: int, subsampling: int, progressive: bool
) -> None:
    options = {"quality": quality, "subsampling": subsampling, "progressive": progressive}
    data = picture("JPEG", side, **options)
    pixels = decode(data)
    assert pixels is not None
    np.testing.assert_array_equal(pixels, mx.image.imdecode(data).asnumpy())
    np.testing.assert_array_equal(pixels, image.read(data).asnumpy())


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return picture("JPEG", exif=exif)


def test_a_picture_without_rotation_is_decoded() -> None:
    assert decode(turned(1)) is not None


def with_bits_flipped() -> bytes:
    data = bytearray(picture("JPEG", 64))
    data[len(data) // 2 : len(data) // 2 + 40] = b"\x55" * 40
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        turned(6),
        turned(3),
        picture("PNG"),
        picture("BMP"),
        b"text",
        picture("JPEG")[:-2],
        picture("JPEG")[:200],
    ],
    ids=["turned", "upside down", "PNG", "BMP", "text", "no end", "half"],
)
def test_pictures_that_only_the_engine_decodes(data: bytes) -> None:
    assert decode(data) is None


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_the_engine_decodes_other_colors(mode: str) -> None:
    target = io.BytesIO()
    Image.effect_noise((40, 40), 50).convert(mode).save(target, "JPEG")
    assert decode(target.getvalue()) is None


def test_damaged_pictures_have_the_pixels_of_the_engine() -> None:
    data = with_bits_flipped()
    pixels = decode(data)
    if pixels is not None:
        np.testing.assert_array_equal(pixels, mx.image.imdecode(data).asnumpy())


@pytest.mark.parametrize("kind", ["uint8", "float32"])
@pytest.mark.parametrize("order", ["NCHW", "NHWC"])
def test_transposed_pictures_are_those_of_the_engine(kind: str, order: str) -> None:
    given_ = mx.nd.random.uniform(0, 255, (5, 7, 3)).astype(kind)
    expected = mx.nd.expand_dims(given_, 0)
    if order == "NCHW":
        expected = mx.nd.transpose(expected, (0, 3, 1, 2))
    found = image.transform_shape(given_, order)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found.asnumpy(), expected.asnumpy())
