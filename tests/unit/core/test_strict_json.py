"""Parsing of JSON from clients: both parsers give the same values; errors name the cause."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mms_server.core import strict_json
from mms_server.core.errors import BadInputError, BodyTooLargeError

_SMALL = st.integers(-(2**63), 2**64 - 1)
_VALUES = st.recursive(
    st.none() | st.booleans() | _SMALL | st.floats(allow_nan=False, allow_infinity=False)
    # A lone surrogate is not a valid character.
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)  # fmt: skip


@given(_VALUES, st.booleans())
def test_values_are_those_that_were_written(value: object, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    try:
        expected = json.loads(text.decode())
    except UnicodeDecodeError:
        with pytest.raises(BadInputError):
            strict_json.parse(text, "it")
        return
    found = strict_json.parse(text, "it")
    assert json.dumps(found) == json.dumps(expected)


@pytest.mark.parametrize(
    "text", [b"[NaN]", b"-Infinity", b"[1,]", b"", b"\xff", b"{'a': 1}", b"1 2"]
)
def test_what_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(BadInputError, match="it is not valid JSON"):
        strict_json.parse(text, "it")


def test_what_only_one_parser_takes_is_taken() -> None:
    assert strict_json.parse(b'"\\ud800"', "it") == "\ud800"
    assert strict_json.parse(b"[1e400]", "it") == [math.inf]


def test_a_number_beyond_64_bits_is_the_nearest_float() -> None:
    assert strict_json.parse(b"18446744073709551615", "it") == 2**64 - 1
    found = strict_json.parse(b"18446744073709551616", "it")
    assert (type(found), found) == (float, 2.0**64)


def test_depth_has_a_limit() -> None:
    with pytest.raises(BadInputError, match="nested too deeply"):
        strict_json.parse(b"[" * 100_000 + b"]" * 100_000, "it")
    assert strict_json.parse(b"[" * 100 + b"]" * 100, "it")


@pytest.mark.parametrize(
    ("text", "most", "kind"),
    [
        (b"[", strict_json.MAX_CONTAINERS, "lists and objects"),
        (b",", strict_json.MAX_ELEMENTS, "elem"),
    ],
)
def test_size_has_a_limit(text: bytes, most: int, kind: str) -> None:
    strict_json.require_small(text * most, "it")
    with pytest.raises(BodyTooLargeError, match=kind):
        strict_json.require_small(text * (most + 1), "it")
