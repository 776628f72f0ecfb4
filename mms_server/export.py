"""Pack a model directory into an archive (contract, sections 8.1, 8.2 and 9).

The archive is the same bytes on every run and machine: members are sorted and stored, with fixed
times and permissions.
"""

from __future__ import annotations

import importlib.metadata
import io
import json
import os
import re
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mms_server.errors import ArchiveError
from mms_server.manifest import FILE_NAME, SYMBOLIC
from mms_server.signature import IMAGE, Signature, parse_object

ARCHIVE_VERSION = 0.2
SERVER_VERSION = 0.4
SUFFIX = ".model"

_SERVICES = Path(__file__).parent / "archived_services"
_SYMBOL, _PARAMETERS, _ONNX = "-symbol.json", ".params", ".onnx"
_SIGNATURE_NAME = "signature.json"
_EPOCH = re.compile(r"(?P<prefix>.+)-(?P<epoch>\d{4,})\.params")
_BAD_NAME = re.compile(r"[/\x00-\x1f\x7f]|^\.|^$")
_EPOCH_1980 = (1980, 1, 1, 0, 0, 0)
_ZIP64_FROM = 2**31 - 1


@dataclass(frozen=True)
class _Source:
    """What goes into an archive: the directory's files and the service file."""

    files: tuple[Path, ...]
    symbol: Path
    parameters: Path
    service: Path

    def members(self) -> list[Path]:
        """Return the files in archive order: the directory's, then the service file if added."""
        kept = [path for path in self.files if path.name != self.service.name]
        inside = self.service in self.files
        return [*self.files] if inside else [*kept, self.service]


def export_model(
    model_name: str,
    model_path: str,
    service_file: str | None = None,
    export_file: str | None = None,
) -> Path:
    """Write ``<model_name>.model`` (or ``export_file``) and return its path.

    Raises:
        ArchiveError: the directory does not hold exactly one complete model, or the target exists.
        ServiceError: the service file does not hold a fitting class.
    """
    if _BAD_NAME.search(model_name):
        raise ArchiveError(
            model_name,
            "this is no usable model name.",
            fix="use letters, digits, '.', '_' and '-'.",
        )
    target = Path(export_file).absolute() if export_file else Path.cwd() / (model_name + SUFFIX)
    if target.exists():
        raise ArchiveError(
            target, f"model file {target} already exists.", fix="remove it, or choose another name."
        )
    source = _collect(model_name, Path(model_path).expanduser(), service_file)
    _write(target, source, _manifest(model_name, source))
    return target


def _collect(model_name: str, directory: Path, service_file: str | None) -> _Source:
    files = _files(directory)
    symbol, parameters = _model_files(directory, files)
    _check_epoch(model_name, symbol, parameters)
    signature = _signature(directory, symbol)
    if service_file:
        service = _given_service(directory, service_file)
    else:
        kind = "vision" if signature.input_type == IMAGE else "model"
        service = _SERVICES / f"mxnet_{kind}_service.py"
    return _Source(files, symbol, parameters, service)


def _files(directory: Path) -> tuple[Path, ...]:
    """Return the files to pack: not an old manifest, and no archive made here earlier."""
    if not directory.is_dir():
        raise ArchiveError(
            directory, "the model path is not a directory.", fix="give the model's directory."
        )
    return tuple(
        path
        for path in sorted(directory.iterdir())
        if path.is_file() and path.name != FILE_NAME and path.suffix != SUFFIX
    )


def _model_files(directory: Path, files: tuple[Path, ...]) -> tuple[Path, Path]:
    found = {
        suffix: [path for path in files if path.name.endswith(suffix)]
        for suffix in (_SYMBOL, _PARAMETERS, _ONNX)
    }
    for suffix, paths in found.items():
        if len(paths) > 1:
            names = ", ".join(path.name for path in paths)
            raise ArchiveError(
                directory,
                f"mxnet-model-export expects only one {suffix} file, found: {names}.",
                fix="leave one of them in the directory.",
            )
    symbol, parameters, onnx = found[_SYMBOL], found[_PARAMETERS], found[_ONNX]
    if onnx:
        _refuse_onnx(directory, mixed=bool(symbol or parameters))
    if not symbol and not parameters:
        raise ArchiveError(
            directory,
            "No model files found.",
            fix="put <name>-symbol.json and <name>-<epoch>.params into the directory.",
        )
    if not symbol or not parameters:
        lacking = f"*{_PARAMETERS}" if symbol else f"*{_SYMBOL}"
        raise ArchiveError(
            directory,
            f"Incomplete MXNet model: there is no {lacking} file.",
            fix="put <name>-symbol.json and <name>-<epoch>.params into the directory.",
        )
    return symbol[0], parameters[0]


def _refuse_onnx(directory: Path, *, mixed: bool) -> None:
    if mixed:
        raise ArchiveError(
            directory,
            "More than one model type: an ONNX file beside MXNet files.",
            fix="leave one of them in the directory.",
        )
    raise ArchiveError(
        directory,
        "ONNX models are not exported by this version.",
        fix="convert the model to an MXNet symbol and parameters first.",
    )


def _check_epoch(model_name: str, symbol: Path, parameters: Path) -> None:
    """Refuse names that a server could not put together again (contract, section 8.4)."""
    match = _EPOCH.fullmatch(parameters.name)
    prefix = symbol.name.removesuffix(_SYMBOL)
    if match is None or match["prefix"] != prefix:
        raise ArchiveError(
            parameters,
            f"the parameters file of {symbol.name} must be named {prefix}-<epoch>.params, the "
            "epoch with four digits.",
            fix="rename the file.",
        )
    if int(match["epoch"]) and prefix != model_name:
        raise ArchiveError(
            parameters,
            f"epoch {int(match['epoch'])} is only found by a server if the files are named after "
            f"the model, {model_name!r}; they are named {prefix!r}.",
            fix=f"give --model-name {prefix}, or rename the file to {prefix}-0000.params.",
        )


def _signature(directory: Path, symbol: Path) -> Signature:
    file = directory / _SIGNATURE_NAME
    if not file.is_file():
        raise ArchiveError(
            directory,
            f"{_SIGNATURE_NAME} is not found in {directory}.",
            fix="write one that names the model's inputs and outputs.",
        )
    signature = Signature.from_json(_text(file), file)
    inputs = _symbol_inputs(symbol)
    unknown = [row.data_name for row in signature.inputs if row.data_name not in inputs]
    if unknown:
        raise ArchiveError(
            file,
            f"{', '.join(unknown)}: no such input in {symbol.name}.",
            fix="use the names that the symbol's inputs have.",
        )
    return signature


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ArchiveError(path, "it is not UTF-8 text.", fix="save it as UTF-8.") from error


def _symbol_inputs(symbol: Path) -> set[str]:
    nodes = parse_object(_text(symbol), symbol, symbol.name).get("nodes")
    if not isinstance(nodes, list):
        raise ArchiveError(symbol, "it is not an MXNet symbol.", fix="save the symbol again.")
    rows = [node for node in nodes if isinstance(node, dict)]
    return {str(node.get("name")) for node in rows if node.get("op") == "null"}


def _given_service(directory: Path, service_file: str) -> Path:
    """Return the given service file, checked: it may be named relative to the model directory."""
    from mms_server.service_loader import leaf_class  # noqa: PLC0415 - loads the engine: seconds
    from mms_server.services.model_service import load_service  # noqa: PLC0415 - likewise
    from mms_server.services.mxnet_model_service import MXNetBaseService  # noqa: PLC0415 - likewise

    for path in (Path(service_file).expanduser(), directory / service_file):
        if path.is_file():
            break
    else:
        raise ArchiveError(service_file, "there is no such service file.", fix="check the path.")
    found = leaf_class(load_service(str(path)))
    if not issubclass(found, MXNetBaseService) and found.__name__ != MXNetBaseService.__name__:
        raise ArchiveError(
            path,
            f"its class {found.__name__} is not derived from {MXNetBaseService.__name__}.",
            fix="derive the service class from MXNetBaseService or MXNetVisionService.",
        )
    inside = directory / path.name
    return inside if inside.is_file() and inside.samefile(path) else path


def _manifest(model_name: str, source: _Source) -> str:
    fields = {
        "Model-Archive-Version": ARCHIVE_VERSION,
        "Model-Archive-Description": model_name,
        "Model-Server": SERVER_VERSION,
        "Model": {
            "Model-Name": model_name,
            "Description": model_name,
            "Model-Format": SYMBOLIC,
            "Service": source.service.name,
            "Signature": _SIGNATURE_NAME,
            "Symbol": source.symbol.name,
            "Parameters": source.parameters.name,
        },
        "Engine": {"MXNet": _engine_version(source.symbol)},
    }
    return json.dumps(fields, indent=4) + "\n"


def _engine_version(symbol: Path) -> Any:
    """Return the version in the symbol file, as it is written there, else the installed one."""
    attributes = parse_object(_text(symbol), symbol, symbol.name).get("attrs")
    if isinstance(attributes, dict) and "mxnet_version" in attributes:
        return attributes["mxnet_version"]
    return importlib.metadata.version("mxnet")


def _write(target: Path, source: _Source, manifest: str) -> None:
    """Write beside the target and link into place: no half archive, and no overwriting."""
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
                for path in source.members():
                    with path.open("rb") as content:
                        _add(archive, path.name, content, path.stat().st_size)
                text = manifest.encode()
                _add(archive, FILE_NAME, io.BytesIO(text), len(text))
            stream.flush()
            os.fchmod(stream.fileno(), 0o644)
            os.fsync(stream.fileno())
        os.link(name, target)
    except FileExistsError as error:
        raise ArchiveError(
            target, f"model file {target} already exists.", fix="remove it."
        ) from error
    finally:
        Path(name).unlink()


def _add(archive: zipfile.ZipFile, name: str, content: IO[bytes], size: int) -> None:
    info = zipfile.ZipInfo(name, _EPOCH_1980)
    info.create_system = 3  # Unix, whatever the machine: the permissions below are Unix's
    info.external_attr = 0o100644 << 16
    info.file_size = size
    with archive.open(info, "w", force_zip64=size > _ZIP64_FROM) as member:
        shutil.copyfileobj(content, member)
