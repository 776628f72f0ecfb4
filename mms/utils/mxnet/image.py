"""Image functions under their names of 0.4."""

from mms_server.inference.services.image import (
    color_normalize,
    fixed_crop,
    read,
    resize,
    transform_shape,
    write,
)

__all__ = ["color_normalize", "fixed_crop", "read", "resize", "transform_shape", "write"]
