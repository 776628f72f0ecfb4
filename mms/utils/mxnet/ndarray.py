"""Array functions under their 0.4 names."""

from mms_server.inference.services.ndarray import top_probability

__all__ = ["top_probability"]
