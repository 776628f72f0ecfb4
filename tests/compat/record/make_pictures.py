"""Maker of the pictures for the requests. They are in the repository, because encoders differ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def main(directory: Path = Path(__file__).parents[1] / "pictures") -> None:
    """Write the pictures that are missing."""
    directory.mkdir(exist_ok=True)
    pictures = {
        "photo.jpg": _scene(40, 30),
        "grey.jpg": _scene(16, 16).convert("L"),
        # Lossless and of the model's size: decoders cannot differ, and nothing is resized.
        "exact.png": _scene(16, 16),
    }
    for name, picture in pictures.items():
        if not (directory / name).exists():
            picture.save(directory / name, quality=90)


def _scene(width: int, height: int) -> Image.Image:
    """Return color gradients with a bright disk: smooth areas and a sharp edge."""
    y, x = np.mgrid[0:height, 0:width] / [[[height]], [[width]]]
    channels = [255 * x, 255 * y, 255 * (1 - x) * y]
    disk = (x - 0.6) ** 2 + (y - 0.4) ** 2 < 0.06
    pixels = np.stack(channels, axis=-1)
    pixels[disk] = (250, 230, 40)
    return Image.fromarray(pixels.astype(np.uint8))


if __name__ == "__main__":
    main()
