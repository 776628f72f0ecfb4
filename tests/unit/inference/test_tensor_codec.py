"""Tests of the tensor codec: complete data of the declared type and shape become arrays."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest

from mms_server.core.errors import BadInputError
from mms_server.inference import tensor_codec


@pytest.mark.parametrize(
    ("datatype", "values"),
    [
        ("BOOL", [True, False]),
        ("UINT8", [0, 255]),
        ("INT8", [-128, 127]),
        ("UINT64", [0, 2**64 - 1]),
        ("INT64", [-(2**63), 2**63 - 1]),
        ("FP16", [0.5, -2.0]),
        ("FP32", [1, 2.5]),
        ("FP64", [1e300, 0.1]),
    ],
)
def test_json_and_binary_agree(datatype: str, values: list[Any]) -> None:
    array = tensor_codec.from_json("x", datatype, (1, 2), [values])
    assert array.shape == (1, 2)
    assert array.ravel().tolist() == values
    assert tensor_codec.datatype_of(array) == datatype
    again = tensor_codec.from_binary("x", datatype, (1, 2), tensor_codec.to_binary(array))
    assert np.array_equal(array, again)
    assert array.dtype == again.dtype


def test_data_may_be_flat_or_nested() -> None:
    flat = tensor_codec.from_json("x", "FP32", (2, 2), [1, 2, 3, 4])
    assert np.array_equal(flat, tensor_codec.from_json("x", "FP32", (2, 2), [[1, 2], [3, 4]]))


@pytest.mark.parametrize(
    ("datatype", "shape", "data"),
    [
        ("UINT8", (1,), [256]),
        ("UINT8", (1,), [-1]),
        ("INT64", (1,), [2**63]),
        ("INT32", (1,), [1.5]),
        ("INT32", (1,), [True]),
        ("FP32", (1,), [False]),
        ("BOOL", (1,), [1]),
        ("FP32", (1,), ["1"]),
        ("FP32", (1,), [None]),
        ("FP32", (2,), [[1], [2, 3]]),
        ("FP32", (2,), [1]),
        ("FP32", (1,), [1, 2]),
        ("FP32", (1,), [10**400]),
        ("FP32", (1,), 1),
        ("FP32", (1,), None),
        ("BYTES", (1,), [1]),
        ("BYTES", (2,), ["a", ["b"]]),
        ("BYTES", (1,), ["a", "b"]),
    ],
)
def test_data_of_another_type_or_shape_are_refused(
    datatype: str, shape: tuple[int, ...], data: Any
) -> None:
    with pytest.raises(BadInputError, match="x"):
        tensor_codec.from_json("x", datatype, shape, data)


def test_binary_data_of_another_length_are_refused() -> None:
    assert tensor_codec.from_binary("x", "FP32", (2,), b"\0" * 8).shape == (2,)
    for length in (7, 9, 0):
        with pytest.raises(BadInputError, match="take 8"):
            tensor_codec.from_binary("x", "FP32", (2,), b"\0" * length)


def test_bytes_elements_in_json_and_binary() -> None:
    rows = [b"", b"a", b"\xff\0"]
    assert tensor_codec.from_binary("x", "BYTES", (3,), tensor_codec.to_binary(rows)) == rows
    assert tensor_codec.from_json("x", "BYTES", (2,), [["a"], ["é"]]) == [b"a", "é".encode()]


@pytest.mark.parametrize(
    "data",
    [b"", b"\1", struct.pack("<L", 2) + b"a", struct.pack("<L", 2**32 - 1), b"\0" * 8, b"\0" * 5],
)
def test_truncated_and_surplus_elements_are_refused(data: bytes) -> None:
    with pytest.raises(BadInputError, match="elements"):
        tensor_codec.from_binary("x", "BYTES", (1,), data)


@pytest.mark.parametrize("shape", [[0], [-1], [1.0], [True], "1", None, [2**41], [1] * 33])
def test_invalid_shapes_are_refused(shape: Any) -> None:
    with pytest.raises(BadInputError, match="shape"):
        tensor_codec.require_shape("x", shape)


def test_largest_and_smallest_shapes_are_accepted() -> None:
    assert tensor_codec.require_shape("x", [1] * 32) == (1,) * 32
    assert tensor_codec.require_shape("x", []) == ()


@pytest.mark.parametrize("datatype", ["BF16", "fp32", "", None, 1, []])
def test_unsupported_datatypes_are_refused(datatype: Any) -> None:
    with pytest.raises(BadInputError, match="datatype"):
        tensor_codec.require_datatype("x", datatype)


def test_outputs_that_are_not_arrays() -> None:
    assert tensor_codec.arrays_of([{"a": 1}]) is None
    assert tensor_codec.arrays_of([]) is None
    assert tensor_codec.arrays_of("x") is None
    assert tensor_codec.arrays_of([np.array(["a"])]) is None
    found = tensor_codec.arrays_of((np.zeros(2, np.float32),))
    assert found is not None
    assert len(found) == 1
