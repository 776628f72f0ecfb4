"""The formats of pictures that the server accepts, for the decoder, OpenAPI and the documents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mms_server.archives.signature import IMAGE


@dataclass(frozen=True)
class PictureFormat:
    """A format, by its name in Pillow.

    The OpenAPI document lists ``media_type`` for a picture as the whole body of a request. Where it
    is empty, the document has only ``application/octet-stream``. The server accepts any type.
    """

    name: str
    media_type: str = ""


PICTURE_FORMATS: Final = (
    PictureFormat("JPEG", IMAGE),
    PictureFormat("PNG", "image/png"),
    PictureFormat("BMP"),
    PictureFormat("TIFF"),
)
NAMES: Final = tuple(row.name for row in PICTURE_FORMATS)


def as_text() -> str:
    """Return the names for a sentence."""
    return f"{', '.join(NAMES[:-1])} or {NAMES[-1]}"
