"""The logger of service files (contract, section 10)."""

from __future__ import annotations

import logging


def get_logger(name: str | None = None) -> logging.Logger:
    """Return the logger ``mms``, or one below it; the server decides where its lines go."""
    return logging.getLogger(f"mms.{name}" if name else "mms")
