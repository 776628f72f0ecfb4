"""Two answers of a model are the same within a tolerance."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mms_server.archives.comparison import Tolerance, difference

WIDE = Tolerance(relative=0.01, absolute=0.001)


def ranking(*rows: tuple[str, float]) -> list[dict[str, Any]]:
    return [{"class": name, "probability": value} for name, value in rows]


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (100.0, 100.9),
        (100, 100.9),
        (0.0, 0.0009),
        ([1, "a", None, True], [1.001, "a", None, True]),
        ({"a": [1.0]}, {"a": [1.0]}),
        (["[[1.0, 2.0]]"], ["[[1.001, 2.001]]"]),
        ("[not JSON", "[not JSON"),
        ([], []),
    ],
)
def test_alike(one: Any, two: Any) -> None:
    assert difference(one, two, WIDE) == ""
    assert difference(two, one, WIDE) == ""


@pytest.mark.parametrize(
    ("one", "two", "says"),
    [
        (100.0, 101.1, "the answer is 101.1; expected is 100.0."),
        (0.0, 0.0011, "the answer is 0.0011"),
        ([1, [2, 3]], [1, [2, 4]], "the answer[1][1] is 4; expected is 3."),
        ([1], [1, 2], "the length of the answer is 2"),
        ({"a": 1}, {"b": 1}, 'the keys of the answer is ["b"]'),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, "the answer.a.b is 2"),
        (True, 1, "the answer is 1; expected is true."),
        (None, 0, "the answer is 0"),
        ("a", "b", 'the answer is "b"'),
        ("[1]", "[2]", "the answer[0] is 2"),
        ("[1]", "x", 'the answer is "x"'),
        ("a" * 200, "b", "..."),
    ],
)
def test_different(one: Any, two: Any, says: str) -> None:
    assert says in difference(one, two, WIDE)
    assert difference(two, one, WIDE)


def test_classes_that_are_level_may_change_places() -> None:
    one = ranking(("a", 0.9), ("b", 0.05), ("c", 0.05), ("d", 0.02))
    assert not difference(one, ranking(("a", 0.9), ("c", 0.05), ("b", 0.05), ("d", 0.02)), WIDE)
    assert not difference(one, ranking(("a", 0.9), ("b", 0.05), ("c", 0.05), ("e", 0.02)), WIDE)
    for other in (
        ranking(("b", 0.9), ("a", 0.05), ("c", 0.05), ("d", 0.02)),
        ranking(("a", 0.9), ("b", 0.05), ("x", 0.05), ("d", 0.02)),
        ranking(("a", 0.8), ("b", 0.05), ("c", 0.05), ("d", 0.02)),
        ranking(("a", 0.9), ("b", 0.05), ("c", 0.05), ("d", 0.03)),
    ):
        assert difference(one, other, WIDE)


def test_the_likeliest_class_counts_even_if_all_are_level() -> None:
    assert difference(ranking(("a", 0.5)), ranking(("b", 0.5)), WIDE)


values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(values, values)
def test_any_two_values_compare(one: Any, two: Any) -> None:
    assert difference(one, one, Tolerance(0, 0)) == ""
    assert isinstance(difference(one, two, WIDE), str)
