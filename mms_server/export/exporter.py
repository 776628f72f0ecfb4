"""From a model directory to an archive: the steps in their order (contract, section 9)."""

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
    list_files,
    model_files,
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
class _Source:
    """What goes into an archive: ``members`` in their order, and last the manifest."""

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
    """Write ``<model_name>.model`` (or ``export_file``) and return its path.

    The first four parameters are the contract's. ``sample_files`` become golden samples. Nothing is
    written into the model directory.

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
        raise packer.already_exists(target)
    directory = Path(model_path).expanduser()
    with tempfile.TemporaryDirectory(prefix="mxnet-model-export-") as name:
        scratch = Path(name)
        source = _collect(model_name, directory, service_file, scratch)
        manifest = {FILE_NAME: source.manifest}
        packer.check_names(directory, [*source.members, *manifest])
        members = {**source.members, **manifest}
        if sample_files:
            files = [Path(file).expanduser() for file in sample_files]
            added = samples.record(files, source.signature, members, scratch / "unpacked")
            members = {**source.members, **added, **manifest}
        packer.write(target, members)
    return target


def _collect(model_name: str, directory: Path, service_file: str | None, scratch: Path) -> _Source:
    files = list_files(directory)
    given = _given_service(directory, service_file) if service_file else None
    gluon = given is not None and _is_gluon(given)
    model = model_files(directory, files, gluon=gluon)
    text, signature = signature_file.read(directory)
    members: dict[str, Path | bytes] = {**files}
    if model.onnx:
        inputs, converted = _converted(files[model.onnx], scratch)
        del members[model.onnx]
        model = ModelFiles(*(path.name for path in converted))
        text = signature_file.with_real_name(text, inputs)
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
    service = given or _default_service(signature)
    if not any(path.samefile(service) for path in files.values()):
        members.pop(service.name, None)
        members[service.name] = service
    manifest = _manifest(model_name, model, service.name, engine, gluon=gluon)
    return _Source(members, manifest.encode(), signature)


def _converted(onnx_file: Path, scratch: Path) -> tuple[list[str], tuple[Path, Path]]:
    """Return the names of the network's inputs, and the files it was converted to."""
    prefix = onnx_file.name.removesuffix(ONNX)
    place = scratch / _CONVERTED
    place.mkdir()
    # For whatever user the conversion gets; the directory above is this user's alone.
    place.chmod(0o777)
    files = place / (prefix + SYMBOL), place / f"{prefix}-0000{PARAMETERS}"
    words = [str(path.absolute()) for path in (onnx_file, *files)]
    inputs = child_process.run(
        child_process.ONNX,
        *words,
        where=onnx_file,
        timeout_s=_CONVERT_TIMEOUT_S,
        readable=[onnx_file],
        writable=place,
    )
    return inputs, files


def _given_service(directory: Path, service_file: str) -> Path:
    """Return the given service file: it may be named relative to the model directory."""
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
    """Return the version in the symbol file, as it is written there, else the installed one."""
    text = signature_file.text_of(symbol)
    attributes = parse_object(text, symbol, symbol.name).get("attrs")
    if isinstance(attributes, dict) and "mxnet_version" in attributes:
        return attributes["mxnet_version"]
    return importlib.metadata.version("mxnet")
