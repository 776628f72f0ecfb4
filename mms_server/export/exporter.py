"""Export a model directory as an archive: the sequence of steps.

The rules are those of 0.4 (docs/compatibility.md, 9).
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mms_server.archives.manifest import FILE_NAME, SYMBOLIC
from mms_server.archives.signature import IMAGE, Signature, parse_object
from mms_server.core.errors import ArchiveError
from mms_server.export import child_process, packer, samples, signature_file
from mms_server.export.model_files import (
    ONNX,
    PARAMETERS,
    SUFFIX,
    SYMBOL,
    ModelFiles,
    check_epoch,
    find_model_files,
    list_files,
)
from mms_server.inference.services import service_templates

ARCHIVE_VERSION = 0.2
SERVER_VERSION = 0.4
GLUON = "Gluon-Imperative"

_SERVICES = Path(service_templates.__file__).parent
_BAD_NAME = re.compile(r"[/\x00-\x1f\x7f]|^\.|^$")
_IMPORT_TIMEOUT_S = 60.0
_CONVERT_TIMEOUT_S = 600.0
_CONVERTED = "converted"


@dataclass(frozen=True)
class _Contents:
    """Contents of an archive: ``members`` in their order, and the manifest, which comes last."""

    members: dict[str, Path | bytes]
    manifest: bytes
    signature: Signature


def export_model(
    model_name: str,
    model_path: str,
    service_file: str | None = None,
    export_file: str | None = None,
    *,
    sample_files: Sequence[str] = (),
) -> Path:
    """Write the archive ``<model_name>.model`` (or ``export_file``) and return its path.

    The first four parameters are those of 0.4. ``sample_files`` become golden samples. Nothing is
    written into the model directory.

    Raises:
        ArchiveError: the directory does not contain exactly one complete model, or the archive
            already exists.
        ServiceError: the service file does not contain exactly one usable class.
    """
    if _BAD_NAME.search(model_name):
        raise ArchiveError(
            model_name,
            "this is no usable model name.",
            fix="use letters, digits, '.', '_' and '-'.",
        )
    target = Path(export_file).absolute() if export_file else Path.cwd() / (model_name + SUFFIX)
    if target.exists():
        raise packer.already_exists(target)
    directory = Path(model_path).expanduser()
    with tempfile.TemporaryDirectory(prefix="mxnet-model-export-") as name:
        scratch = Path(name)
        contents = _collect(model_name, directory, service_file, scratch)
        manifest = {FILE_NAME: contents.manifest}
        packer.check_names(directory, [*contents.members, *manifest])
        members = {**contents.members, **manifest}
        if sample_files:
            files = [Path(file).expanduser() for file in sample_files]
            golden = samples.record(files, contents.signature, members, scratch / "unpacked")
            members = {**contents.members, **golden, **manifest}
        packer.write(target, members)
    return target


def _collect(
    model_name: str, directory: Path, service_file: str | None, scratch: Path
) -> _Contents:
    """Return the contents of the archive; converted files are written into ``scratch``."""
    files = list_files(directory)
    user_service = _find_service(directory, service_file) if service_file else None
    gluon = user_service is not None and _is_gluon(user_service)
    model = find_model_files(directory, files, gluon=gluon)
    text, signature = signature_file.read(directory)
    members: dict[str, Path | bytes] = {**files}
    if model.onnx:
        inputs, converted = _convert_onnx(files[model.onnx], scratch)
        del members[model.onnx]
        model = ModelFiles(*(path.name for path in converted))
        text = signature_file.rename_first_input(text, inputs)
        signature = Signature.from_json(text, directory / signature_file.NAME)
        members |= {path.name: path for path in converted}
        members[signature_file.NAME] = text.encode()
        members = {name: members[name] for name in sorted(members)}
    if model.symbol:
        check_epoch(model_name, directory, model)
        symbol = files.get(model.symbol, scratch / _CONVERTED / model.symbol)
        signature_file.check_inputs(directory / signature_file.NAME, signature, symbol)
        engine = _engine_version(symbol)
    else:
        engine = importlib.metadata.version("mxnet")
    service = user_service or _default_service(signature)
    if not any(path.samefile(service) for path in files.values()):
        members.pop(service.name, None)
        members[service.name] = service
    manifest = _manifest(model_name, model, service.name, engine, gluon=gluon)
    return _Contents(members, manifest.encode(), signature)


def _convert_onnx(onnx_file: Path, scratch: Path) -> tuple[list[str], tuple[Path, Path]]:
    """Return the names of the network's inputs, and the symbol and parameters files."""
    prefix = onnx_file.name.removesuffix(ONNX)
    directory = scratch / _CONVERTED
    directory.mkdir()
    # The sandbox may run the conversion as another user. Only this user can enter ``scratch``.
    directory.chmod(0o777)
    files = directory / (prefix + SYMBOL), directory / f"{prefix}-0000{PARAMETERS}"
    arguments = [str(path.absolute()) for path in (onnx_file, *files)]
    inputs = child_process.run(
        child_process.ONNX,
        *arguments,
        where=onnx_file,
        timeout_s=_CONVERT_TIMEOUT_S,
        readable=[onnx_file],
        writable=directory,
    )
    return inputs, files


def _find_service(directory: Path, service_file: str) -> Path:
    """Return the path of the service file, which may be relative to the model directory."""
    for path in (Path(service_file).expanduser(), directory / service_file):
        if path.is_file():
            return path
    raise ArchiveError(
        service_file,
        f"there is no such service file, nor is there one in {directory}.",
        fix="check the path.",
    )


def _is_gluon(service: Path) -> bool:
    file = str(service.absolute())
    kind = child_process.run(
        child_process.SERVICE,
        file,
        where=service,
        timeout_s=_IMPORT_TIMEOUT_S,
        readable=[service.absolute().parent],
    )
    return bool(kind == child_process.GLUON)


def _default_service(signature: Signature) -> Path:
    kind = "vision" if signature.input_type == IMAGE else "model"
    return _SERVICES / f"mxnet_{kind}_service.py"


def _manifest(model_name: str, model: ModelFiles, service: str, engine: Any, *, gluon: bool) -> str:
    fields = {
        "Model-Archive-Version": ARCHIVE_VERSION,
        "Model-Archive-Description": model_name,
        "Model-Server": SERVER_VERSION,
        "Model": {
            "Model-Name": model_name,
            "Description": model_name,
            "Model-Format": GLUON if gluon else SYMBOLIC,
            "Service": service,
            "Signature": signature_file.NAME,
            "Symbol": model.symbol,
            "Parameters": model.parameters,
        },
        "Engine": {"MXNet": engine},
    }
    return json.dumps(fields, indent=4) + "\n"


def _engine_version(symbol: Path) -> Any:
    """Return the MXNet version as the symbol file has it, or else that of the installed package."""
    text = signature_file.read_text(symbol)
    attributes = parse_object(text, symbol, symbol.name).get("attrs")
    if isinstance(attributes, dict) and "mxnet_version" in attributes:
        return attributes["mxnet_version"]
    return importlib.metadata.version("mxnet")
