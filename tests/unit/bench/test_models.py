"""The picture that is sent has the size that was asked for."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from tests.bench.models import SIDE, picture


@pytest.mark.parametrize("size_bytes", [10_000, 110_000])
def test_a_picture_is_as_large_as_was_asked_for(size_bytes: int) -> None:
    jpeg = picture(size_bytes)

    assert len(jpeg) == pytest.approx(size_bytes, rel=0.05)
    assert Image.open(io.BytesIO(jpeg)).size == (SIDE, SIDE)
