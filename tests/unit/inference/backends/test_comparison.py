"""Tests of the comparison of a backend's outputs with the reference's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mms_server.inference.backends.comparison import compare


def fault(expected: Any, actual: Any, tolerance: float) -> str:
    return compare([[np.array(expected)]], [[np.array(actual)]], tolerance, "sample").fault


def test_the_share_is_relative_to_the_largest_number() -> None:
    found = compare([[np.array([[0.0, 8.0]])]], [[np.array([[0.2, 8.0]])]], 0.03, "sample")
    assert (found.inputs, found.share, found.fault) == (1, pytest.approx(0.025), "")
    assert "a number is 0.2; expected is 0, which is 2.5%" in fault([0.0, 8.0], [0.2, 8.0], 0.024)


def test_zeros_are_compared_absolutely() -> None:
    assert fault([0.0], [0.0], 0.1) == ""
    assert fault([0.0], [0.2], 0.1)


def test_nan_and_infinity_are_faults() -> None:
    assert "NaN" in fault([1.0], [float("nan")], 1.0)
    assert "NaN" in fault([1.0], [float("inf")], 1.0)


def test_another_most_probable_class_is_a_fault_unless_scores_are_equal() -> None:
    assert fault([[1.0, 0.9, 0.1]], [[0.94, 0.95, 0.1]], 0.11) == ""
    text = fault([[1.0, 0.88, 0.1]], [[0.94, 0.95, 0.1]], 0.11)
    assert text == "sample 1, output 0: the likeliest class is 1; expected is 0 (1 against 0.88)."
    assert fault([1.0, 0.88], [0.94, 0.95], 0.11) == "", "one dimension: not a row of scores"


def test_other_shapes_and_numbers_of_outputs_are_faults() -> None:
    assert "its shape is (2,); expected is (3,)" in fault([1, 2, 3], [1, 2], 1.0)
    assert "2 outputs, not 1" in compare([[np.ones(1)]], [[np.ones(1)] * 2], 1.0, "sample").fault
    assert fault(np.ones((1, 0)), np.ones((1, 0)), 0.1) == ""


def test_the_result_has_the_first_fault_and_the_largest_share() -> None:
    one = [[np.array([1.0])], [np.array([1.0])]]
    found = compare(one, [[np.array([1.2])], [np.array([1.5])]], 0.1, "sample")
    assert found.fault.startswith("sample 1,")
    assert found.share == pytest.approx(0.5)
