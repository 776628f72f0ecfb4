"""Read and check the signature.json that is packed into an archive.

The rules are those of 0.4 (docs/compatibility.md, 8.3 and 9).
"""

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
    """Return the text and the parsed signature in ``directory``.

    All fields are required here. A server accepts a signature without some of them.

    Raises:
        ArchiveError: the file is missing, or not every server could read it.
    """
    file = directory / NAME
    if not file.is_file():
        raise ArchiveError(directory, f"{NAME} is not found in {directory}.", fix=_FIX)
    text = read_text(file)
    data = parse_object(text, file, NAME)
    _require_fields(file, data)
    return text, Signature.from_json(text, file)


def read_text(path: Path) -> str:
    """Return the text in a file; a byte order mark is removed.

    Raises:
        ArchiveError: the file is not UTF-8.
    """
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ArchiveError(path, "it is not UTF-8 text.", fix="save it as UTF-8.") from error


def check_inputs(file: Path, signature: Signature, symbol: Path) -> None:
    """Refuse inputs of the signature that the network does not have.

    Raises:
        ArchiveError: an input is not in the symbol file, or that file is not a symbol.
    """
    nodes = parse_object(read_text(symbol), symbol, symbol.name).get("nodes")
    if not isinstance(nodes, list):
        raise ArchiveError(symbol, "it is not an MXNet symbol.", fix="save the symbol again.")
    objects = [node for node in nodes if isinstance(node, dict)]
    known = {str(node.get("name")) for node in objects if node.get("op") == "null"}
    unknown = [spec.data_name for spec in signature.inputs if spec.data_name not in known]
    if unknown:
        raise ArchiveError(
            file,
            f"{', '.join(unknown)}: no such input in {symbol.name}.",
            fix="use the names that the symbol's inputs have.",
        )


def rename_first_input(text: str, network_inputs: Collection[str]) -> str:
    """Return the text with the first input renamed to an input of the network.

    It is renamed only if its name is not an input of the network, and the network has an input that
    the signature does not name. The exporter of 0.4 wrote the network's name into the user's own
    file; here only the archive gets it.
    """
    data = parse_object(text, NAME, NAME)
    first = data["inputs"][0]
    names = {spec["data_name"] for spec in data["inputs"]}
    unnamed = [name for name in network_inputs if name not in names]
    if first["data_name"] in network_inputs or not unnamed:
        return text
    first["data_name"] = unnamed[0]
    return json.dumps(data, indent=4) + "\n"


def _require_fields(file: Path, data: dict[str, Any]) -> None:
    if "input_type" not in data or "output_type" not in data:
        raise ArchiveError(file, "input_type and output_type are required in signature.", fix=_FIX)
    types = data["input_type"], data["output_type"]
    if any(value not in TYPES for value in types):
        raise ArchiveError(
            file,
            f"Valid type should be picked from {', '.join(TYPES)}: input_type is {types[0]!r}, "
            f"output_type is {types[1]!r}.",
            fix="correct it.",
        )
    if "inputs" not in data or "outputs" not in data:
        raise ArchiveError(file, "inputs and outputs are required in signature.", fix=_FIX)
