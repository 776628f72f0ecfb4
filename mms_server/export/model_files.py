"""Find the files of a model in its directory, and the kind of model: symbol, ONNX or Gluon.

The rules are those of 0.4 (docs/compatibility.md, 9).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mms_server.archives import golden_samples
from mms_server.archives.manifest import FILE_NAME
from mms_server.core.errors import ArchiveError

SUFFIX = ".model"
SYMBOL, PARAMETERS, ONNX = "-symbol.json", ".params", ".onnx"

_EXCLUDED = frozenset(("__pycache__", ".DS_Store"))
_EPOCH = re.compile(r"(?P<prefix>.+)-(?P<epoch>\d{4,})\.params")
_KINDS = {
    SYMBOL: "symbol file",
    PARAMETERS: "parameters file",
    ONNX: "ONNX file",
}
_FILES = "put <name>-symbol.json and <name>-<epoch>.params, or one <name>.onnx, into the directory."


@dataclass(frozen=True)
class ModelFiles:
    """Names of the model's files, which are at the top of the directory; empty if there is none."""

    symbol: str = ""
    parameters: str = ""
    onnx: str = ""


def list_files(directory: Path) -> dict[str, Path]:
    """Return the files to pack by their relative names, sorted.

    Excluded are the exporter's own files (manifest, archives, golden samples), Python's caches, and
    hidden directories.

    Raises:
        ArchiveError: ``directory`` is not a directory, or contains a link to a directory.
    """
    if not directory.is_dir():
        raise ArchiveError(
            directory, "the model path is not a directory.", fix="give the model's directory."
        )
    found = {path.relative_to(directory).as_posix(): path for path in _walk(directory)}
    return {
        name: found[name]
        for name in sorted(found)
        if name != FILE_NAME and not found[name].name.startswith(golden_samples.PREFIX)
    }


def find_model_files(directory: Path, names: Mapping[str, object], *, gluon: bool) -> ModelFiles:
    """Return the model's files among ``names``; with ``gluon`` the service class has the network.

    Raises:
        ArchiveError: the files are not those of exactly one complete model.
    """
    found = {suffix: _find_single(directory, names, suffix) for suffix in _KINDS}
    model = ModelFiles(found[SYMBOL], found[PARAMETERS], found[ONNX])
    mixed = model.onnx and (model.symbol or model.parameters or gluon)
    if mixed or (gluon and model.symbol and model.parameters):
        raise ArchiveError(
            directory,
            f"More than one model type is present: {', '.join(_name_parts(model, gluon=gluon))}.",
            fix="leave the files of one of them in the directory.",
        )
    if not gluon and not any((model.symbol, model.parameters, model.onnx)):
        raise ArchiveError(directory, "No model files found.", fix=_FILES)
    lacks_parameters = model.symbol and not model.parameters
    lacks_symbol = model.parameters and not model.symbol and not gluon
    if lacks_parameters or lacks_symbol:
        lacking = PARAMETERS if lacks_parameters else SYMBOL
        raise ArchiveError(
            directory,
            f"Incomplete MXNet model: there is no *{lacking} file.",
            fix="remove the symbol: the service class has the network." if gluon else _FILES,
        )
    return model


def check_epoch(model_name: str, directory: Path, model: ModelFiles) -> None:
    """Refuse file names from which a server could not find the epoch.

    A server derives the names from prefix and epoch (docs/compatibility.md, 8.4).

    Raises:
        ArchiveError: the parameters file has no epoch or another prefix than the symbol file, or
            the epoch is not 0 and the prefix is not the model's name.
    """
    where = directory / model.parameters
    prefix = model.symbol.removesuffix(SYMBOL)
    match = _EPOCH.fullmatch(model.parameters)
    if match is None or match["prefix"] != prefix:
        what = "No epoch number found in it" if match is None else "Its prefix does not match"
        raise ArchiveError(
            where,
            f"{what}: the parameters file of {model.symbol} must be named {prefix}-<epoch>.params, "
            "the epoch with four digits.",
            fix="rename the file.",
        )
    if int(match["epoch"]) and prefix != model_name:
        raise ArchiveError(
            where,
            f"epoch {int(match['epoch'])} is only found by a server if the files are named after "
            f"the model, {model_name!r}; they are named {prefix!r}.",
            fix=f"give --model-name {prefix}, or rename the file to {prefix}-0000.params.",
        )


def _walk(directory: Path) -> list[Path]:
    found = []
    for path in directory.iterdir():
        name = path.name
        if name in _EXCLUDED or name.endswith(SUFFIX):
            continue
        if path.is_dir():
            if name.startswith("."):
                continue
            if path.is_symlink():
                raise ArchiveError(
                    path, "it is a link to a directory.", fix="put the directory's files there."
                )
            found += _walk(path)
        elif path.is_file():
            found.append(path)
    return found


def _find_single(directory: Path, names: Mapping[str, object], suffix: str) -> str:
    """Return the only file with a suffix at the top of the directory; empty if there is none."""
    found = [name for name in names if name.endswith(suffix) and "/" not in name]
    if len(found) > 1:
        raise ArchiveError(
            directory,
            f"mxnet-model-export expects only one {suffix} file, found: {', '.join(found)}.",
            fix=f"leave the one {_KINDS[suffix]} that is to be exported in the directory.",
        )
    return found[0] if found else ""


def _name_parts(model: ModelFiles, *, gluon: bool) -> list[str]:
    names = [name for name in (model.onnx, model.symbol, model.parameters) if name]
    return [*names, "a service class with a Gluon network"] if gluon else names
