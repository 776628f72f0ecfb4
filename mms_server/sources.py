"""From a location in ``mms.conf`` to the file or directory it means (contract, section 8.5)."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

from mms_server.conf import MmsConf, ModelSpec
from mms_server.errors import ConfError

_REMOTE: Final = ("http", "https", "s3")
_ONNX: Final = (".onnx", ".pb2")


def locate(conf: MmsConf, spec: ModelSpec, archives: Path | None = None) -> Path:
    """Return where a model's archive is; ``archives`` is looked in first, by base name.

    Raises:
        ConfError: it is nowhere, or of a kind that cannot be served.
    """
    scheme, separator, _rest = spec.location.partition("://")
    scheme = scheme.lower() if separator else ""
    is_url = bool(scheme)
    name = PurePosixPath(unquote(urlsplit(spec.location).path) if is_url else spec.location).name
    if name.lower().endswith(_ONNX):
        cause = f"model {spec.name}: {name} is an ONNX file."
        fix = "Convert ONNX model using mxnet-model-export before serving."
        raise ConfError(conf.file, spec.line, cause, fix=fix)
    if archives is not None and name and (archives / name).exists():
        return archives / name
    if scheme in _REMOTE:
        cause = f"model {spec.name}: {spec.location} is not on this host's file systems."
        fix = "copy the archive to the shared directory and give its path there."
        raise ConfError(conf.file, spec.line, cause, fix=fix)
    path = _local(conf, spec, scheme)
    if path.exists():
        return path
    cause = f"archive {path} of model {spec.name} does not exist."
    if archives is not None:
        cause = f"archive {path} of model {spec.name} does not exist, and {archives} has no {name}."
    fix = f"put the archive there, or correct the location in line {spec.line}."
    raise ConfError(conf.file, spec.line, cause, fix=fix)


def locate_service(conf: MmsConf, archives: Path | None = None) -> Path | None:
    """Return the file that ``--service`` names, None if it is not given.

    Raises:
        ConfError: there is no such file.
    """
    if "--service" not in conf.arguments:
        return None
    text, line = conf.arguments["--service"]
    path = conf.file.parent / text
    if archives is not None and (archives / path.name).is_file():
        return archives / path.name
    if not path.is_file():
        cause = f"service file {path} does not exist."
        fix = "put the file there, or write `optional` to use the archives' own."
        raise ConfError(conf.file, line, cause, fix=fix)
    return path


def _local(conf: MmsConf, spec: ModelSpec, scheme: str) -> Path:
    if not scheme:
        return conf.file.parent / spec.location
    parts = urlsplit(spec.location)
    if scheme != "file" or parts.netloc not in ("", "localhost"):
        cause = f"model {spec.name}: {spec.location} is not a location that is understood."
        fix = "give a path or file:///path."
        raise ConfError(conf.file, spec.line, cause, fix=fix)
    return Path(unquote(parts.path))
