"""Arrays to answers: the functions that service files import (contract, section 10)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

_BATCH_AND_CLASS = 2


def top_probability(data: Any, labels: Sequence[str], top: int = 5) -> list[dict[str, Any]]:
    """Return the ``top`` likeliest classes of the first row, best first.

    ``data`` is batch x class, or the classes of one row; further dimensions must be of size one and
    are left out.
    """
    values = np.atleast_2d(data.asnumpy())
    if values.ndim > _BATCH_AND_CLASS:
        values = np.squeeze(values, axis=tuple(range(values.ndim))[_BATCH_AND_CLASS:])
    best = np.argsort(-values[0], kind="stable")[:top]
    return [{"probability": float(values[0, i]), "class": labels[i]} for i in best]
