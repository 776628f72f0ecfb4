"""signature.json as it goes into an archive (contract, sections 8.3 and 9)."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from mms_server.archives.signature import TYPES, Signature, parse_object
from mms_server.core.errors import ArchiveError

NAME = "signature.json"

_FIX = "write one that names the model's inputs and outputs, their shapes and MIME types."


def read(directory: Path) -> tuple[str, Signature]:
    """Return the text and the signature in ``directory``; unlike a server, insist on all fields.

    Raises:
        ArchiveError: there is none, or it is not one that every server reads.
    """
    file = directory / NAME
    if not file.is_file():
        raise ArchiveError(directory, f"{NAME} is not found in {directory}.", fix=_FIX)
    text = text_of(file)
    data = parse_object(text, file, NAME)
    _require(file, data)
    return text, Signature.from_json(text, file)


def text_of(path: Path) -> str:
    """Return the text in a file.

    Raises:
        ArchiveError: it is not UTF-8.
    """
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ArchiveError(path, "it is not UTF-8 text.", fix="save it as UTF-8.") from error


def check_inputs(file: Path, signature: Signature, symbol: Path) -> None:
    """Refuse inputs that the network does not have.

    Raises:
        ArchiveError: there are some.
    """
    nodes = parse_object(text_of(symbol), symbol, symbol.name).get("nodes")
    if not isinstance(nodes, list):
        raise ArchiveError(symbol, "it is not an MXNet symbol.", fix="save the symbol again.")
    rows = [node for node in nodes if isinstance(node, dict)]
    known = {str(node.get("name")) for node in rows if node.get("op") == "null"}
    unknown = [row.data_name for row in signature.inputs if row.data_name not in known]
    if unknown:
        raise ArchiveError(
            file,
            f"{', '.join(unknown)}: no such input in {symbol.name}.",
            fix="use the names that the symbol's inputs have.",
        )


def with_real_name(text: str, real: Collection[str]) -> str:
    """Return the text with the first input named as in the network, whose inputs are ``real``.

    The original wrote ``input_0`` or whatever ONNX has into the user's own file; here it goes into
    the archive, and only if the user's name is not an input's already.
    """
    data = parse_object(text, NAME, NAME)
    first = data["inputs"][0]
    names = {row["data_name"] for row in data["inputs"]}
    free = [name for name in real if name not in names]
    if first["data_name"] in real or not free:
        return text
    first["data_name"] = free[0]
    return json.dumps(data, indent=4) + "\n"


def _require(file: Path, data: dict[str, Any]) -> None:
    if "input_type" not in data or "output_type" not in data:
        raise ArchiveError(file, "input_type and output_type are required in signature.", fix=_FIX)
    given = data["input_type"], data["output_type"]
    if any(value not in TYPES for value in given):
        raise ArchiveError(
            file,
            f"Valid type should be picked from {', '.join(TYPES)}: input_type is {given[0]!r}, "
            f"output_type is {given[1]!r}.",
            fix="correct it.",
        )
    if "inputs" not in data or "outputs" not in data:
        raise ArchiveError(file, "inputs and outputs are required in signature.", fix=_FIX)
