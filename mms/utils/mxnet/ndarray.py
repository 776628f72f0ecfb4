"""Array functions under their names of 0.4."""

from mms_server.inference.services.ndarray import top_probability

__all__ = ["top_probability"]
