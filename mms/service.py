"""The exception of 1.x handlers, under its name of MXNet Model Server 1.x."""

from __future__ import annotations


class PredictionException(Exception):  # noqa: N818 - the name is that of 1.x
    """Raised by a handler to answer with the status ``error_code`` and a message."""

    def __init__(self, message: str, error_code: int = 500) -> None:
        self.message = message
        self.error_code = error_code
        super().__init__(message)


__all__ = ["PredictionException"]
