"""Tensors of the Open Inference Protocol as numpy arrays: data types, JSON and binary data."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from math import prod
from typing import Any, Final

import numpy as np

from mms_server.core.errors import BadInputError

Array = np.ndarray[Any, Any]

BYTES: Final = "BYTES"
_DTYPES: Final = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
_NAMES: Final = {(dtype.kind, dtype.itemsize): name for name, dtype in _DTYPES.items()}
# JSON values by kind of numpy type: an integer must not have a fraction, and true is not 1.
_JSON_TYPES: Final[dict[str, set[type]]] = {
    "b": {bool},
    "u": {int},
    "i": {int},
    "f": {int, float},
}
MAX_DIMENSIONS: Final = 32
_MAX_SIZE: Final = 2**40
_LENGTH: Final = struct.Struct("<L")


def datatype_of(array: Array) -> str:
    """Return the protocol's name of the type of an array.

    Raises:
        KeyError: the protocol has no such type.
    """
    return _NAMES[array.dtype.kind, array.dtype.itemsize]


def arrays_of(outputs: Any) -> list[Array] | None:
    """Return a model's outputs as arrays; None if one is no array of a type of the protocol."""
    if not isinstance(outputs, list | tuple) or not outputs:
        return None
    arrays = [output.asnumpy() if hasattr(output, "asnumpy") else output for output in outputs]
    if all(
        isinstance(array, np.ndarray) and (array.dtype.kind, array.dtype.itemsize) in _NAMES
        for array in arrays
    ):
        return arrays
    return None


def require_shape(name: str, shape: Any) -> tuple[int, ...]:
    """Return ``shape`` as a tuple of positive numbers.

    Raises:
        BadInputError: it is not a list of at most 32 positive whole numbers.
    """
    if not isinstance(shape, list) or not all(
        isinstance(size, int) and not isinstance(size, bool) and 0 < size <= _MAX_SIZE
        for size in shape
    ):
        raise BadInputError(f"The shape of input {name} is not a list of whole numbers from 1.")
    if len(shape) > MAX_DIMENSIONS:
        raise BadInputError(f"The shape of input {name} has more than {MAX_DIMENSIONS} numbers.")
    return tuple(shape)


def require_datatype(name: str, datatype: Any) -> str:
    """Return ``datatype`` if it is supported.

    Raises:
        BadInputError: it is not supported. BF16 is not, because numpy has no such type.
    """
    if not isinstance(datatype, str) or (datatype not in _DTYPES and datatype != BYTES):
        known = ", ".join([*_DTYPES, BYTES])
        raise BadInputError(f"The datatype of input {name} is not one of {known}.")
    return datatype


def from_json(name: str, datatype: str, shape: Sequence[int], data: Any) -> Any:
    """Return JSON ``data``, nested or flat, as an array; strings (BYTES) as a list of bytes.

    Raises:
        BadInputError: an element is not of the type, or their number does not match the shape.
    """
    if not isinstance(data, list):
        raise BadInputError(f"The data of input {name} is not a list.")
    elements = _flatten(name, data)
    _require_count(name, len(elements), shape)
    if datatype == BYTES:
        return [_encode_text(name, text) for text in elements]
    dtype = _DTYPES[datatype]
    if not set(map(type, elements)) <= _JSON_TYPES[dtype.kind]:
        raise BadInputError(f"The data of input {name} are not all of type {datatype}.")
    if dtype.kind in "iu":
        limits = np.iinfo(dtype.str)
        if min(elements) < limits.min or max(elements) > limits.max:
            raise BadInputError(f"The data of input {name} do not fit into {datatype}.")
    try:
        with np.errstate(all="ignore"):
            return np.array(elements, dtype).reshape(tuple(shape))
    except OverflowError as error:
        raise BadInputError(f"The data of input {name} do not fit into {datatype}.") from error


def from_binary(name: str, datatype: str, shape: Sequence[int], data: bytes) -> Any:
    """Return binary data as an array, or as a list of bytes for BYTES.

    Numbers are little-endian in row-major order. Each element of BYTES comes after its length, four
    bytes, little-endian.

    Raises:
        BadInputError: the number of bytes does not match the shape.
    """
    if datatype == BYTES:
        return _split_elements(name, shape, data)
    dtype = _DTYPES[datatype].newbyteorder("<")
    expected = prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise BadInputError(
            f"The binary data of input {name} are {len(data)} bytes; its shape and datatype take "
            f"{expected}."
        )
    return np.frombuffer(data, dtype).reshape(tuple(shape))


def to_binary(data: Array | list[bytes]) -> bytes:
    """Return the binary data of an array, or of the elements of a BYTES tensor."""
    if isinstance(data, list):
        return b"".join(_LENGTH.pack(len(element)) + element for element in data)
    return np.ascontiguousarray(data, data.dtype.newbyteorder("<")).tobytes()


def _split_elements(name: str, shape: Sequence[int], data: bytes) -> list[bytes]:
    elements: list[bytes] = []
    offset, count = 0, prod(shape)
    while offset < len(data) and len(elements) < count:
        if offset + _LENGTH.size > len(data):
            break
        (length,) = _LENGTH.unpack_from(data, offset)
        offset += _LENGTH.size + length
        if offset > len(data):
            break
        elements.append(data[offset - length : offset])
    if offset != len(data) or len(elements) != count:
        raise BadInputError(
            f"The binary data of input {name} are not {count} elements, each after its length in "
            "four bytes."
        )
    return elements


def _require_count(name: str, count: int, shape: Sequence[int]) -> None:
    if count != prod(shape):
        raise BadInputError(
            f"Input {name} has {count} elements; its shape {list(shape)} takes {prod(shape)}."
        )


def _flatten(name: str, data: list[Any]) -> list[Any]:
    elements = data
    for _depth in range(MAX_DIMENSIONS):
        if not any(isinstance(element, list) for element in elements):
            return elements
        if not all(isinstance(element, list) for element in elements):
            break
        elements = [inner for element in elements for inner in element]
    raise BadInputError(f"The data of input {name} are not nested as a tensor is.")


def _encode_text(name: str, text: Any) -> bytes:
    if not isinstance(text, str):
        raise BadInputError(f"The data of input {name} are not all of type {BYTES}: give strings.")
    return text.encode("utf-8", "surrogatepass")
