"""The function of ``mms.utils.mxnet.ndarray``, with the name and signature of 0.4."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

_BATCH_AND_CLASS = 2


def top_probability(data: Any, labels: Sequence[str], top: int = 5) -> list[dict[str, Any]]:
    """Return the ``top`` most probable classes of the first row, the most probable first.

    ``data`` is batch x class, or the classes of one row. Further dimensions must have size one and
    are removed.
    """
    values = np.atleast_2d(data.asnumpy())
    if values.ndim > _BATCH_AND_CLASS:
        values = np.squeeze(values, axis=tuple(range(values.ndim))[_BATCH_AND_CLASS:])
    best = np.argsort(-values[0], kind="stable")[:top]
    return [{"probability": float(values[0, i]), "class": labels[i]} for i in best]
