"""MANIFEST.json: the roles of an archive's files (compatibility.md, 8.2)."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mms_server.archives.signature import parse_object
from mms_server.core.errors import ArchiveError

FILE_NAME = "MANIFEST.json"
SYMBOLIC = "MXNet-Symbolic"

_FIX = "export the model again with mxnet-model-export."


@dataclass(frozen=True)
class Manifest:
    """The fields that decide how a model is loaded; ``raw`` is the whole object.

    ``service``, ``signature``, ``symbol`` and ``parameters`` are file names or glob patterns;
    the last two may be empty. ``function`` is the function of a 1.x handler, empty if the handler
    is a class, None in a 0.4 archive.
    """

    model_name: str
    model_format: str
    service: str
    signature: str
    symbol: str
    parameters: str
    raw: Mapping[str, Any]
    function: str | None = None

    @property
    def symbolic(self) -> bool:
        """Whether the model is a symbol with parameters."""
        return self.model_format in SYMBOLIC

    @classmethod
    def from_json(cls, text: str, where: Path | str) -> Manifest:
        """Return the manifest that ``text`` describes; unknown fields are kept in ``raw``.

        Raises:
            ArchiveError: a required field is missing or of the wrong type.
        """
        data = parse_object(text, where, FILE_NAME)
        for key in ("Model-Archive-Version", "Model-Server"):
            _number(data, key, where)
        _object(data, "Engine", where)
        model = _object(data, "Model", where)
        return cls(
            model_name=_string(model, "Model-Name", where),
            model_format=_string(model, "Model-Format", where),
            service=_string(model, "Service", where),
            signature=_string(model, "Signature", where),
            symbol=_string(model, "Symbol", where, required=False),
            parameters=_string(model, "Parameters", where, required=False),
            raw=data,
        )


def find(directory: Path, pattern: str) -> tuple[Path, ...]:
    """Return the files directly in ``directory`` that ``pattern`` names, exactly or as a glob."""
    names = sorted(entry.name for entry in os.scandir(directory) if entry.is_file())
    exact = [name for name in names if name == pattern]
    chosen = exact or [name for name in names if fnmatch.fnmatchcase(name, pattern)]
    return tuple(directory / name for name in chosen)


def find_one(directory: Path, pattern: str, what: str) -> Path:
    """Return the only file that ``pattern`` names.

    Raises:
        ArchiveError: no file matches, or several.
    """
    found = find(directory, pattern) if pattern else ()
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(path.name for path in found)
        cause = f"{what} file {pattern} in {FILE_NAME} names several files: {names}."
    elif pattern:
        cause = f"{what} file {pattern} is named in {FILE_NAME} but is not in the archive."
    else:
        cause = f"{what} file not defined in {FILE_NAME}."
    raise ArchiveError(directory, cause, fix=_FIX)


def _object(data: Mapping[str, Any], key: str, where: Path | str) -> dict[str, Any]:
    value = data.get(key)
    if not isinstance(value, dict):
        raise ArchiveError(where, f"{key} in {FILE_NAME} is not an object.", fix=_FIX)
    return value


def _number(data: Mapping[str, Any], key: str, where: Path | str) -> None:
    value = data.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ArchiveError(where, f"{key} in {FILE_NAME} is not a number.", fix=_FIX)


def _string(data: Mapping[str, Any], key: str, where: Path | str, *, required: bool = True) -> str:
    value = data.get(key, "")
    if not isinstance(value, str) or (required and not value):
        raise ArchiveError(where, f"Model.{key} in {FILE_NAME} is not a string.", fix=_FIX)
    return value
