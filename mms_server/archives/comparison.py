"""Compare two answers of a model: as JSON, with a tolerance for numbers."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

# A row of the vision services' answers (compatibility.md, 10).
_ROW: Final = {"class", "probability"}
_SHOWN: Final = 80
# The base service answers with the text of a list, in which these words are no JSON.
_NO_NUMBER: Final = re.compile(r"(?<![\w'\"])-?(nan|inf)(?![\w'\"])")


@dataclass(frozen=True)
class Tolerance:
    """How far two numbers may differ: by a fraction of the larger one, or by an amount.

    The defaults are wider than the differences between processors for a float32 network.
    """

    relative: float = 1e-3
    absolute: float = 1e-5

    def close(self, one: float, two: float) -> bool:
        """Return whether two numbers count as equal."""
        return math.isclose(one, two, rel_tol=self.relative, abs_tol=self.absolute)


def difference(expected: Any, found: Any, tolerance: Tolerance | Sequence[Tolerance]) -> str:
    """Return the first difference in one sentence, an empty text if there is none.

    ``tolerance`` is one for the whole answer, or one for each output of a list of outputs. Text
    that holds a JSON list, as the base service's answer does, is compared as that list. Classes
    whose probabilities differ by less than the tolerance may change places.
    """
    if isinstance(tolerance, Tolerance):
        return _difference("the answer", expected, found, tolerance)
    counts = [len(each) if isinstance(each, list) else 0 for each in (expected, found)]
    if counts != [len(tolerance)] * 2:
        outputs = f"{counts[0]} outputs expected, {counts[1]} found"
        return f"it has {len(tolerance)} tolerances, for {outputs}."
    each = enumerate(zip(expected, found, tolerance, strict=True))
    ones = (_difference(f"the answer[{n}]", *row) for n, row in each)
    return next((one for one in ones if one), "")


def top_class(answer: Any) -> str | int | None:
    """Return the class of the highest probability in the first row, None if there is no such row.

    The class is a name, or the index of the largest number.
    """
    value = answer
    while True:
        if isinstance(value, str):
            value = _list_in(value)
        if not isinstance(value, list) or not value:
            return None
        if _is_ranking(value):
            return str(value[0]["class"])
        if all(_is_number(each) for each in value):
            return int(value.index(max(value)))
        value = value[0]


def not_finite(answer: Any) -> str:
    """Return where an answer has a NaN or an infinite number, an empty text if nowhere."""
    return _not_finite("the answer", answer)


def _not_finite(place: str, value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isfinite(value) else place
    if isinstance(value, str):
        return place if value.startswith("[") and _NO_NUMBER.search(value) else ""
    if isinstance(value, dict):
        pairs = [(f"{place}.{key}", each) for key, each in value.items()]
    elif isinstance(value, list | tuple):
        pairs = [(f"{place}[{n}]", each) for n, each in enumerate(value)]
    else:
        return ""
    return next((found for found in (_not_finite(*pair) for pair in pairs) if found), "")


def _difference(place: str, expected: Any, found: Any, tolerance: Tolerance) -> str:
    if _is_number(expected) and _is_number(found):
        return "" if tolerance.close(expected, found) else _differs(place, expected, found)
    if isinstance(expected, dict) and isinstance(found, dict):
        if set(expected) != set(found):
            return _differs(f"the keys of {place}", sorted(expected), sorted(found))
        pairs = [(f"{place}.{key}", expected[key], found[key]) for key in sorted(expected)]
    elif isinstance(expected, list) and isinstance(found, list):
        if len(expected) != len(found):
            return _differs(f"the length of {place}", len(expected), len(found))
        if expected and _is_ranking(expected) and _is_ranking(found):
            return _ranking(place, expected, found, tolerance)
        pairs = [
            (f"{place}[{n}]", *pair) for n, pair in enumerate(zip(expected, found, strict=True))
        ]
    else:
        return _plain(place, expected, found, tolerance)
    found_ones = (_difference(*pair, tolerance) for pair in pairs)
    return next((one for one in found_ones if one), "")


def _plain(place: str, expected: Any, found: Any, tolerance: Tolerance) -> str:
    if isinstance(expected, str) and isinstance(found, str):
        lists = _list_in(expected), _list_in(found)
        if all(one is not None for one in lists):
            return _difference(place, *lists, tolerance)
    same = type(expected) is type(found) and expected == found
    return "" if same else _differs(place, expected, found)


def _ranking(place: str, expected: list[Any], found: list[Any], tolerance: Tolerance) -> str:
    """Compare probabilities by rank, and by class for classes that the answer must contain."""
    for n, (one, two) in enumerate(zip(expected, found, strict=True)):
        if not tolerance.close(one["probability"], two["probability"]):
            return _differs(f"{place}[{n}]", one, two)
    answered = {row["class"]: row["probability"] for row in found}
    last = expected[-1]["probability"]
    for n, row in enumerate(expected):
        # A class as probable as the last row may have lost its place to a class that is not shown.
        if tolerance.close(row["probability"], last) and n:
            continue
        if not tolerance.close(row["probability"], answered.get(row["class"], math.inf)):
            return _differs(f"{place}[{n}]", row, found[n])
    return ""


def _is_ranking(rows: list[Any]) -> bool:
    return all(
        isinstance(row, dict)
        and set(row) == _ROW
        and isinstance(row["class"], str)
        and _is_number(row["probability"])
        for row in rows
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _list_in(text: str) -> list[Any] | None:
    if not text.startswith("["):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list) else None


def _differs(place: str, expected: Any, found: Any) -> str:
    return f"{place} is {_short(found)}; expected is {_short(expected)}."


def _short(value: Any) -> str:
    text = json.dumps(value, sort_keys=True)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
