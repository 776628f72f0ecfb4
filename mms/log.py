"""The logger of service files (contract, section 10)."""

from __future__ import annotations

import logging
from typing import Any


def get_logger(name: str | None = None, *_: Any, **__: Any) -> logging.Logger:
    """Return the logger ``mms``, or one below it.

    0.4's further parameters (file, level, rotation) are accepted and without effect: where lines go
    and which is decided for the whole server.
    """
    return logging.getLogger(f"mms.{name}" if name else "mms")
