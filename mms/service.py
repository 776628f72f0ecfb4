"""What 1.x handlers import from here (contract, section 17)."""

from __future__ import annotations


class PredictionException(Exception):  # noqa: N818 - the name is the contract's
    """Raised by a handler to answer with a status and a text of its own."""

    def __init__(self, message: str, error_code: int = 500) -> None:
        self.message = message
        self.error_code = error_code
        super().__init__(message)


__all__ = ["PredictionException"]
