"""Look at a picture before it is decoded, and decode what needs no engine for it.

A small file can declare a huge picture, which costs gigabytes to decode, and the engine's decoder
returns a picture for the first half of a file as well: both are found here by reading headers only.
"""

from __future__ import annotations

import io
import re
import warnings
from typing import Any, Final

import numpy as np
from PIL import Image, UnidentifiedImageError

from mms_server.core.errors import BodyTooLargeError

MAX_SIDE = 32768
FORMATS = ("JPEG", "PNG", "BMP", "TIFF")

_END_OF_IMAGE = 0xD9
# Exif 3.0, 4.6.5: how the picture is to be turned; 1 is not at all.
_ORIENTATION: Final = 0x0112
# Entropy-coded data holds FF only before 00 (a stuffed byte), a restart marker or a fill byte.
_NEXT_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])")

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def require_small(data: bytes, max_pixels: int) -> None:
    """Refuse a picture whose header declares too much; what is no picture passes.

    Raises:
        BodyTooLargeError: width x height is over ``max_pixels``, or a side is over ``MAX_SIDE``.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            width, height = picture.size
    except Image.DecompressionBombError as error:
        raise BodyTooLargeError(
            f"The image has more pixels than the limit of {max_pixels}.", fix="send a smaller one."
        ) from error
    except Exception:  # noqa: BLE001 - Pillow raises many kinds; the service will say what it is
        return
    if width * height > max_pixels or max(width, height) > MAX_SIDE:
        raise BodyTooLargeError(
            f"The image is {width} x {height} pixels; the limit is {max_pixels} pixels, and "
            f"{MAX_SIDE} a side.",
            fix="send a smaller one.",
        )


def require_complete(data: bytes) -> None:
    """Refuse what is no picture of a known format, or has lost its end.

    Raises:
        ValueError: so it is.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            kind = picture.format
            if kind == "PNG":
                picture.verify()
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"not a complete picture: {error}") from error
    if kind in {"JPEG", "MPO"} and not _jpeg_ends(data):
        raise ValueError("not a complete picture: the JPEG data has no end.")


def decode(data: bytes) -> Any | None:
    """Return a JPEG's pixels, height x width x RGB of uint8, or None if the engine has to look.

    They are the engine's own: OpenCV and Pillow both decode with libjpeg-turbo's defaults. Pillow
    refuses what has lost its end. What the two may see otherwise is left to the engine: other
    formats and colors, a picture that is to be turned, a damaged one.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as picture:
            turned = picture.getexif().get(_ORIENTATION, 1) != 1
            if picture.format != "JPEG" or picture.mode != "RGB" or turned:
                return None
            return np.asarray(picture)
    except Exception:  # noqa: BLE001 - Pillow raises many kinds; the engine's way says what it is
        return None


def _jpeg_ends(data: bytes) -> bool:
    """Walk the segments from marker to marker: an embedded thumbnail has an end of its own."""
    place = 2
    while match := _NEXT_MARKER.search(data, place):
        marker = match[1][0]
        if marker == _END_OF_IMAGE:
            return True
        # Segments carry their length; the data after a scan's header is searched for a marker.
        place = match.end() + int.from_bytes(data[match.end() : match.end() + 2], "big")
    return False
