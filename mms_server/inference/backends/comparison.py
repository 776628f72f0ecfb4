"""Compare the outputs of a backend with those of the reference on the same inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Outputs = Sequence[Any]
"""The outputs of one request, as numpy arrays with a batch of one."""


@dataclass(frozen=True)
class Difference:
    """Result of a comparison on ``inputs`` inputs.

    ``share`` is the largest difference between two numbers, divided by the largest number of the
    output. ``fault`` describes the first difference over the tolerance; it is empty if there is
    none.
    """

    inputs: int
    share: float
    fault: str


def compare(
    expected: Sequence[Outputs], found: Sequence[Outputs], tolerance: float, what: str
) -> Difference:
    """Compare the outputs for each input; ``what`` names an input, for example `golden sample`.

    An output with two dimensions is rows of scores: the most probable class must also be the same.
    Classes whose expected scores differ by no more than the tolerance count as the same.
    """
    share, fault = 0.0, ""
    for number, (wanted, actual) in enumerate(zip(expected, found, strict=True), 1):
        if len(wanted) != len(actual):
            return Difference(
                number, share, f"{what} {number}: {len(actual)} outputs, not {len(wanted)}."
            )
        for index, (one, other) in enumerate(zip(wanted, actual, strict=True)):
            output_share, text = _compare_output(one, other, tolerance)
            share = max(share, output_share)
            fault = fault or (f"{what} {number}, output {index}: {text}" if text else "")
    return Difference(len(expected), share, fault)


def _compare_output(expected: Any, actual: Any, tolerance: float) -> tuple[float, str]:
    """Return the share of one output, and a text if it is over the tolerance."""
    if expected.shape != actual.shape:
        return 0.0, f"its shape is {actual.shape}; expected is {expected.shape}."
    if not expected.size:
        return 0.0, ""
    expected, actual = expected.astype(np.float64), actual.astype(np.float64)
    if not np.isfinite(actual).all():
        return 0.0, "it has a NaN or an infinite number."
    peak = float(np.abs(expected).max())
    distance = np.abs(expected - actual)
    share = float(distance.max()) / peak if peak else float(distance.max())
    if share > tolerance:
        at = np.unravel_index(int(distance.argmax()), expected.shape)
        return share, (
            f"a number is {actual[at]:.6g}; expected is {expected[at]:.6g}, which is {share:.1%} "
            f"of the largest apart."
        )
    return share, _compare_classes(expected, actual, tolerance * peak)


def _compare_classes(expected: Any, actual: Any, margin: float) -> str:
    """Return a text if the most probable class of a row is another one by more than ``margin``."""
    if expected.ndim != 2:  # noqa: PLR2004 - rows of scores
        return ""
    for row, actual_row in zip(expected, actual, strict=True):
        best, actual_best = int(row.argmax()), int(actual_row.argmax())
        if row[best] - row[actual_best] > margin:
            return (
                f"the likeliest class is {actual_best}; expected is {best} ({row[best]:.6g} "
                f"against {row[actual_best]:.6g})."
            )
    return ""
