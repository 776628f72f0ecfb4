"""Image functions of ``mms.utils.mxnet.image``, with the names and signatures of 0.4.

An image is an NDArray of height x width x channel.
"""

from __future__ import annotations

import base64
import io
from typing import Any

import mxnet as mx
import numpy as np
from PIL import Image

from mms_server.inference.image_decoder import decode, require_complete


def read(buf: Any, flag: int = 1, to_rgb: bool = True, out: Any = None) -> Any:  # noqa: FBT001, FBT002 - as 0.4
    """Return the decoded image, height x width x channel; ``flag`` 0 means greyscale.

    Raises:
        ValueError: ``buf`` is not an image, or is truncated.
    """
    if isinstance(buf, bytes | bytearray):
        plain = flag == 1 and to_rgb and out is None
        pixels = decode(bytes(buf)) if plain else None
        if pixels is not None:
            return mx.nd.array(pixels, dtype=pixels.dtype)
        require_complete(bytes(buf))
    return mx.image.imdecode(buf, flag, to_rgb, out)


def write(img_arr: Any, flag: int = 1, format: str = "jpeg", dim_order: str = "CHW") -> str:  # noqa: A002 - as 0.4
    """Return an image, encoded in ``format``, as base64 text; ``flag`` 0 means greyscale."""
    _require_order(dim_order, "CHW", "HWC")
    if dim_order == "CHW":
        img_arr = mx.nd.transpose(img_arr, (1, 2, 0))
    pixels = img_arr.astype(np.uint8).asnumpy()
    encoded = Image.fromarray(pixels if flag else pixels.reshape(pixels.shape[:2]))
    target = io.BytesIO()
    encoded.save(target, format=format)
    return base64.b64encode(target.getvalue()).decode("ascii")


def resize(src: Any, new_width: int, new_height: int, interp: int = 2) -> Any:
    """Return the image stretched to a size.

    The default is the number 2, as in 0.4. 0.4 documented it as area interpolation, but MXNet
    passes the number to OpenCV, where 2 is cubic. Another number would change probabilities.
    """
    return mx.image.imresize(src, new_width, new_height, interp)


def transform_shape(img_arr: Any, dim_order: str = "NCHW") -> Any:
    """Return an image of height x width x channel as a batch of one, in NCHW or NHWC."""
    _require_order(dim_order, "NCHW", "NHWC")
    if dim_order == "NHWC":
        return mx.nd.expand_dims(img_arr, axis=0)
    return channels_first(img_arr.asnumpy())


def channels_first(pixels: Any) -> Any:
    """Return a numpy array of height x width x channel as an NDArray, a batch of one in NCHW.

    numpy transposes an image in a twentieth of the time that MXNet's own transpose takes.
    """
    transposed = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])
    return mx.nd.array(transposed, dtype=transposed.dtype)


def fixed_crop(  # noqa: PLR0917 - as 0.4
    src: Any, x0: int, y0: int, w: int, h: int, size: Any = None, interp: int = 2
) -> Any:
    """Return the part of an image of size ``w`` x ``h`` at (x0, y0), resized to ``size`` if given.

    ``size`` is (width, height).
    """
    return mx.image.fixed_crop(src, x0, y0, w, h, size, interp)


def color_normalize(src: Any, mean: Any, std: Any = None) -> Any:
    """Return ``(src - mean) / std`` as float32."""
    return mx.image.color_normalize(src.astype(np.float32), mean, std)


def _require_order(dim_order: str, *allowed: str) -> None:
    if dim_order not in allowed:
        raise ValueError(f"dim_order must be {' or '.join(allowed)}, not {dim_order!r}.")
