"""Tensors of the Open Inference Protocol as numpy arrays: names of types, JSON and binary data."""

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
# What JSON values a type takes: a fraction is no whole number, true is no 1.
_TAKES: Final[dict[str, set[type]]] = {"b": {bool}, "u": {int}, "i": {int}, "f": {int, float}}
MAX_DIMENSIONS: Final = 32
_MAX_SIZE: Final = 2**40
_LENGTH: Final = struct.Struct("<L")


def datatype_of(array: Array) -> str:
    """Return the protocol's name for an array's type.

    Raises:
        KeyError: it has none.
    """
    return _NAMES[array.dtype.kind, array.dtype.itemsize]


def arrays_of(outputs: Any) -> list[Array] | None:
    """Return a model's outputs as arrays; None if any is not an array of a type we can name."""
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
        BadInputError: it is something else.
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
    """Return ``datatype`` if it is a type that is served.

    Raises:
        BadInputError: it is not; BF16 has no type in numpy.
    """
    if not isinstance(datatype, str) or (datatype not in _DTYPES and datatype != BYTES):
        known = ", ".join([*_DTYPES, BYTES])
        raise BadInputError(f"The datatype of input {name} is not one of {known}.")
    return datatype


def from_json(name: str, datatype: str, shape: Sequence[int], data: Any) -> Any:
    """Return JSON ``data``, nested or flat, as an array; texts (BYTES) as a list of bytes.

    Raises:
        BadInputError: its elements are not of the type, or not as many as the shape says.
    """
    if not isinstance(data, list):
        raise BadInputError(f"The data of input {name} is not a list.")
    rows = _flat(name, data)
    _require_count(name, len(rows), shape)
    if datatype == BYTES:
        return [_as_bytes(name, text) for text in rows]
    dtype = _DTYPES[datatype]
    if not set(map(type, rows)) <= _TAKES[dtype.kind]:
        raise BadInputError(f"The data of input {name} are not all of type {datatype}.")
    if dtype.kind in "iu":
        limits = np.iinfo(dtype.str)
        if min(rows) < limits.min or max(rows) > limits.max:
            raise BadInputError(f"The data of input {name} do not fit into {datatype}.")
    try:
        with np.errstate(all="ignore"):
            return np.array(rows, dtype).reshape(tuple(shape))
    except OverflowError as error:
        raise BadInputError(f"The data of input {name} do not fit into {datatype}.") from error


def from_binary(name: str, datatype: str, shape: Sequence[int], data: bytes) -> Any:
    """Return the binary form: little-endian numbers, row-major; a list of bytes for BYTES.

    Raises:
        BadInputError: there are more or fewer bytes than the shape says.
    """
    if datatype == BYTES:
        return _elements(name, shape, data)
    dtype = _DTYPES[datatype].newbyteorder("<")
    wanted = prod(shape) * dtype.itemsize
    if len(data) != wanted:
        raise BadInputError(
            f"The binary data of input {name} are {len(data)} bytes; its shape and datatype take "
            f"{wanted}."
        )
    return np.frombuffer(data, dtype).reshape(tuple(shape))


def to_binary(data: Array | list[bytes]) -> bytes:
    """Return the binary form of an array or of the elements of a BYTES tensor."""
    if isinstance(data, list):
        return b"".join(_LENGTH.pack(len(row)) + row for row in data)
    return np.ascontiguousarray(data, data.dtype.newbyteorder("<")).tobytes()


def _elements(name: str, shape: Sequence[int], data: bytes) -> list[bytes]:
    rows: list[bytes] = []
    place, count = 0, prod(shape)
    while place < len(data) and len(rows) < count:
        if place + _LENGTH.size > len(data):
            break
        (length,) = _LENGTH.unpack_from(data, place)
        place += _LENGTH.size + length
        if place > len(data):
            break
        rows.append(data[place - length : place])
    if place != len(data) or len(rows) != count:
        raise BadInputError(
            f"The binary data of input {name} are not {count} elements, each after its length in "
            "four bytes."
        )
    return rows


def _require_count(name: str, count: int, shape: Sequence[int]) -> None:
    if count != prod(shape):
        raise BadInputError(
            f"Input {name} has {count} elements; its shape {list(shape)} takes {prod(shape)}."
        )


def _flat(name: str, data: list[Any]) -> list[Any]:
    rows = data
    for _depth in range(MAX_DIMENSIONS):
        if not any(isinstance(row, list) for row in rows):
            return rows
        if not all(isinstance(row, list) for row in rows):
            break
        rows = [one for row in rows for one in row]
    raise BadInputError(f"The data of input {name} are not nested as a tensor is.")


def _as_bytes(name: str, text: Any) -> bytes:
    if not isinstance(text, str):
        raise BadInputError(f"The data of input {name} are not all of type {BYTES}: give strings.")
    return text.encode("utf-8", "surrogatepass")
