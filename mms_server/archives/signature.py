"""A model's signature: the inputs and outputs of a prediction (compatibility.md, 8.3)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mms_server.core.errors import ArchiveError

IMAGE = "image/jpeg"
JSON = "application/json"
TYPES = (IMAGE, JSON)

_FIX = "correct signature.json and export the model again."


@dataclass(frozen=True)
class Tensor:
    """Name and shape of one input or output. The first size is the batch's; 0 means "any"."""

    data_name: str
    data_shape: tuple[int, ...]


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs of a model, and their MIME types in HTTP."""

    inputs: tuple[Tensor, ...]
    input_type: str
    outputs: tuple[Tensor, ...]
    output_type: str

    @classmethod
    def from_json(cls, text: str, where: Path | str) -> Signature:
        """Return the signature that ``text`` describes; ``where`` names its file in errors.

        ``outputs`` may be missing: nothing is checked against them (compatibility.md, 7.3).

        Raises:
            ArchiveError: the text is not a signature.
        """
        data = parse_object(text, where, "signature.json")
        inputs = _tensors(data, "inputs", where)
        if not inputs:
            raise ArchiveError(where, "signature.json has no inputs.", fix=_FIX)
        names = [tensor.data_name for tensor in inputs]
        if len(set(names)) != len(names):
            raise ArchiveError(where, "signature.json names an input twice.", fix=_FIX)
        return cls(
            inputs=inputs,
            input_type=_mime_type(data, "input_type", where),
            outputs=_tensors(data, "outputs", where) if "outputs" in data else (),
            output_type=_mime_type(data, "output_type", where),
        )


def parse_object(text: str, where: Path | str, name: str) -> dict[str, Any]:
    """Return the JSON object in ``text``.

    Raises:
        ArchiveError: it is not JSON, or not an object.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArchiveError(
            where, f"{name} is not valid JSON: {error}.", fix="export the model again."
        ) from error
    if not isinstance(data, dict):
        raise ArchiveError(where, f"{name} is not a JSON object.", fix="export the model again.")
    return data


def _tensors(data: dict[str, Any], key: str, where: Path | str) -> tuple[Tensor, ...]:
    rows = data.get(key)
    if not isinstance(rows, list):
        raise ArchiveError(where, f"signature.json has no list named {key}.", fix=_FIX)
    return tuple(_tensor(row, key, where) for row in rows)


def _tensor(row: object, key: str, where: Path | str) -> Tensor:
    name = row.get("data_name") if isinstance(row, dict) else None
    shape = row.get("data_shape") if isinstance(row, dict) else None
    if not isinstance(name, str) or not name:
        raise ArchiveError(
            where, f"an element of {key} in signature.json has no data_name (a string).", fix=_FIX
        )
    if not isinstance(shape, list) or not shape or not all(_is_size(size) for size in shape):
        raise ArchiveError(
            where,
            f"data_shape of {name!r} in signature.json is not a list of whole numbers from 0.",
            fix=_FIX,
        )
    return Tensor(name, tuple(shape))


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _mime_type(data: dict[str, Any], key: str, where: Path | str) -> str:
    value = data.get(key)
    if value not in TYPES:
        raise ArchiveError(
            where,
            f"{key} in signature.json is {value!r}; it must be {IMAGE} or {JSON}.",
            fix=_FIX,
        )
    return str(value)
