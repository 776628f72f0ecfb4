"""Check pictures before they are decoded, and decode those that need no engine.

A small file can declare a huge picture, which takes gigabytes to decode. The engine's decoder also
returns a picture for the first half of a file. Both are found here without decoding: by the header,
and by the end of the file.
"""

from __future__ import annotations

import io
import re
import warnings
from typing import Any, Final

import numpy as np
from PIL import Image, UnidentifiedImageError

from mms_server.config.request_limits import RequestLimits
from mms_server.core.errors import BodyTooLargeError
from mms_server.inference.picture_formats import NAMES

MAX_SIDE = 32768

_END_OF_IMAGE = 0xD9
# Exif 3.0, 4.6.5: the rotation of the picture; 1 is none.
_ORIENTATION: Final = 0x0112
# In entropy-coded data, FF stands only before 00 (a stuffed byte), a restart marker or a fill byte.
_NEXT_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])")

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def require_small(data: bytes, limits: RequestLimits) -> None:
    """Refuse a picture whose header declares too many pixels; data of no known format pass.

    Raises:
        BodyTooLargeError: width x height is over ``limits.max_pixels``, or a side is over
            ``MAX_SIDE``.
    """
    try:
        with Image.open(io.BytesIO(data), formats=NAMES) as picture:
            width, height = picture.size
    except Image.DecompressionBombError as error:
        raise BodyTooLargeError(
            f"The image has more pixels than the limit of {limits.max_pixels}.",
            fix="send a smaller one.",
        ) from error
    except Exception:  # noqa: BLE001 - Pillow raises many kinds; the service reports the error
        return
    if width * height > limits.max_pixels or max(width, height) > MAX_SIDE:
        raise BodyTooLargeError(
            f"The image is {width} x {height} pixels; the limit is {limits.max_pixels} pixels, and "
            f"{MAX_SIDE} a side.",
            fix="send a smaller one.",
        )


def require_complete(data: bytes) -> None:
    """Refuse data that are not a picture of a known format, or that are cut off.

    Raises:
        ValueError: the data are not a complete picture.
    """
    try:
        with Image.open(io.BytesIO(data), formats=NAMES) as picture:
            kind = picture.format
            if kind == "PNG":
                picture.verify()
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"not a complete picture: {error}") from error
    if kind in {"JPEG", "MPO"} and not _jpeg_ends(data):
        raise ValueError("not a complete picture: the JPEG data has no end.")


def decode(data: bytes) -> Any | None:
    """Return a JPEG's pixels, height x width x RGB of uint8, or None if the engine must decode it.

    The pixels are equal to the engine's: OpenCV and Pillow both decode with libjpeg-turbo's
    defaults. Pillow refuses a file that is cut off. The engine decodes all pictures for which the
    two may differ: other formats and colors, a picture with a rotation, a damaged picture.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as picture:
            turned = picture.getexif().get(_ORIENTATION, 1) != 1
            if picture.format != "JPEG" or picture.mode != "RGB" or turned:
                return None
            return np.asarray(picture)
    except Exception:  # noqa: BLE001 - Pillow raises many kinds; the engine reports the error
        return None


def _jpeg_ends(data: bytes) -> bool:
    """Return whether the last marker is there, from segment to segment.

    A search for the marker alone would find the end of an embedded thumbnail.
    """
    place = 2
    while match := _NEXT_MARKER.search(data, place):
        marker = match[1][0]
        if marker == _END_OF_IMAGE:
            return True
        # A segment has its length. The data after the header of a scan has none, so it is searched.
        place = match.end() + int.from_bytes(data[match.end() : match.end() + 2], "big")
    return False
