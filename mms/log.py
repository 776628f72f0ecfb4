"""The logger of service files, under its name of 0.4."""

from __future__ import annotations

import logging
from typing import Any


def get_logger(name: str | None = None, *_: Any, **__: Any) -> logging.Logger:
    """Return the logger ``mms``, or its child ``mms.<name>``.

    The further parameters of 0.4 (file, level, rotation) are accepted without effect, because the
    log's destination and level are settings of the whole server.
    """
    return logging.getLogger(f"mms.{name}" if name else "mms")
