"""Pictures as NDArrays: the functions that service files import (contract, section 10)."""

from __future__ import annotations

import base64
import io
from typing import Any

import mxnet as mx
import numpy as np
from PIL import Image

from mms_server.inference.image_decoder import decode, require_complete


def read(buf: Any, flag: int = 1, to_rgb: bool = True, out: Any = None) -> Any:  # noqa: FBT001, FBT002 - contract
    """Return the decoded picture, height x width x channel; ``flag`` 0 means greyscale.

    Raises:
        ValueError: it is no picture, or only the beginning of one.
    """
    if isinstance(buf, bytes | bytearray):
        plain = flag == 1 and to_rgb and out is None
        pixels = decode(bytes(buf)) if plain else None
        if pixels is not None:
            return mx.nd.array(pixels, dtype=pixels.dtype)
        require_complete(bytes(buf))
    return mx.image.imdecode(buf, flag, to_rgb, out)


def write(img_arr: Any, flag: int = 1, format: str = "jpeg", dim_order: str = "CHW") -> str:  # noqa: A002 - contract
    """Return a picture encoded as base64 text; ``flag`` 0 means greyscale."""
    _require_order(dim_order, "CHW", "HWC")
    if dim_order == "CHW":
        img_arr = mx.nd.transpose(img_arr, (1, 2, 0))
    pixels = img_arr.astype(np.uint8).asnumpy()
    picture = Image.fromarray(pixels if flag else pixels.reshape(pixels.shape[:2]))
    target = io.BytesIO()
    picture.save(target, format=format)
    return base64.b64encode(target.getvalue()).decode("ascii")


def resize(src: Any, new_width: int, new_height: int, interp: int = 2) -> Any:
    """Return the picture stretched to a size.

    The default of the contract is the number 2. It was documented as interpolation by area, but the
    engine hands the number to OpenCV, where it is cubic; another number would change probabilities.
    """
    return mx.image.imresize(src, new_width, new_height, interp)


def transform_shape(img_arr: Any, dim_order: str = "NCHW") -> Any:
    """Return a height x width x channel picture as a batch of one, in NCHW or NHWC."""
    _require_order(dim_order, "NCHW", "NHWC")
    if dim_order == "NHWC":
        return mx.nd.expand_dims(img_arr, axis=0)
    return channels_first(img_arr.asnumpy())


def channels_first(pixels: Any) -> Any:
    """Return a picture, a numpy array of height x width x channel, as a batch of one in NCHW.

    numpy turns it in a twentieth of the time that the engine's own transpose takes.
    """
    turned = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])
    return mx.nd.array(turned, dtype=turned.dtype)


def fixed_crop(  # noqa: PLR0917 - contract
    src: Any, x0: int, y0: int, w: int, h: int, size: Any = None, interp: int = 2
) -> Any:
    """Return the part of a picture from (x0, y0), resized to ``size`` (w, h) if given."""
    return mx.image.fixed_crop(src, x0, y0, w, h, size, interp)


def color_normalize(src: Any, mean: Any, std: Any = None) -> Any:
    """Return ``(src - mean) / std`` as float32."""
    return mx.image.color_normalize(src.astype(np.float32), mean, std)


def _require_order(given: str, *orders: str) -> None:
    if given not in orders:
        raise ValueError(f"dim_order must be {' or '.join(orders)}, not {given!r}.")
