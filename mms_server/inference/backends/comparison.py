"""How far the outputs of an engine are from those of the reference, on the same inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Outputs = Sequence[Any]
"""The outputs of one request, as numpy arrays with a batch of one."""


@dataclass(frozen=True)
class Difference:
    """What was found on ``inputs`` inputs: the largest share, and in one sentence what is wrong.

    ``share`` is the largest difference of a number, divided by the output's largest number.
    ``fault`` is empty if all are within the tolerance.
    """

    inputs: int
    share: float
    fault: str


def compare(
    expected: Sequence[Outputs], found: Sequence[Outputs], tolerance: float, what: str
) -> Difference:
    """Compare outputs by input; ``what`` names an input, as `golden sample`.

    A row of scores, which is an output of two dimensions, must also have its largest number in the
    same place; places whose numbers are within the tolerance of each other count as the same.
    """
    share, fault = 0.0, ""
    for number, (wanted, given) in enumerate(zip(expected, found, strict=True), 1):
        if len(wanted) != len(given):
            return Difference(
                number, share, f"{what} {number}: {len(given)} outputs, not {len(wanted)}."
            )
        for place, (one, two) in enumerate(zip(wanted, given, strict=True)):
            alone, text = _apart(one, two, tolerance)
            share = max(share, alone)
            fault = fault or (f"{what} {number}, output {place}: {text}" if text else "")
    return Difference(len(expected), share, fault)


def _apart(one: Any, two: Any, tolerance: float) -> tuple[float, str]:
    if one.shape != two.shape:
        return 0.0, f"its shape is {two.shape}; expected is {one.shape}."
    if not one.size:
        return 0.0, ""
    wanted, given = one.astype(np.float64), two.astype(np.float64)
    if not np.isfinite(given).all():
        return 0.0, "it has a NaN or an infinite number."
    peak = float(np.abs(wanted).max())
    distance = np.abs(wanted - given)
    alone = float(distance.max()) / peak if peak else float(distance.max())
    if alone > tolerance:
        at = np.unravel_index(int(distance.argmax()), wanted.shape)
        return alone, (
            f"a number is {given[at]:.6g}; expected is {wanted[at]:.6g}, which is {alone:.1%} of "
            f"the largest apart."
        )
    return alone, _top(wanted, given, tolerance * peak)


def _top(wanted: Any, given: Any, level: float) -> str:
    """Return in what row the likeliest class is another one."""
    if wanted.ndim != 2:  # noqa: PLR2004 - rows of scores
        return ""
    for row, other in zip(wanted, given, strict=True):
        best, chosen = int(row.argmax()), int(other.argmax())
        if row[best] - row[chosen] > level:
            return (
                f"the likeliest class is {chosen}; expected is {best} ({row[best]:.6g} against "
                f"{row[chosen]:.6g})."
            )
    return ""
