"""Resolve a location of ``mms.conf`` to the archive's path (compatibility.md, 8.5)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from mms_server.archives.resolver import ResolvedArchive
from mms_server.config import model_uri
from mms_server.config.mms_conf import MmsConf, ModelSpec
from mms_server.config.model_uri import EXAMPLES, Location
from mms_server.core.errors import ArchiveError, ConfError
from mms_server.core.io_timeout import with_io_timeout

_ONNX: Final = (".onnx", ".pb2")


def locate(conf: MmsConf, spec: ModelSpec, archives: Path | None = None) -> ResolvedArchive:
    """Return where a model's archive is; ``archives`` is searched first, for its base name.

    Raises:
        ConfError: the archive is neither on this host nor remote, or cannot be served.
    """
    try:
        location = model_uri.parse(spec.location)
        path = path_of(location, conf.file.parent, archives)
    except ArchiveError as error:
        place = "" if error.archive in error.cause else f"{error.archive}: "
        cause = f"model {spec.name}: {place}{error.cause}"
        raise ConfError(conf.file, spec.line, cause, fix=error.fix) from error
    return ResolvedArchive(location, path)


def path_of(location: Location, base: Path, archives: Path | None = None) -> Path | None:
    """Return the path of a location, relative to ``base``; None if the location is remote.

    Raises:
        ArchiveError: no archive is there, or its kind cannot be served.
        SilentFileSystemError: the file system does not answer.
    """
    name = location.name
    if name.lower().endswith(_ONNX):
        fix = "Convert ONNX model using mxnet-model-export before serving."
        raise ArchiveError(location.shown, f"{name} is an ONNX file.", fix=fix)
    if archives is not None and name and _there(archives / name):
        return archives / name
    if location.remote:
        return None
    path = local_path(location, base)
    if not _there(path):
        besides = f", and {archives} has no {name}" if archives is not None else ""
        cause = f"archive {path} does not exist{besides}."
        raise ArchiveError(location.shown, cause, fix="put it there, or correct the location.")
    return path


def locate_service(conf: MmsConf, archives: Path | None = None) -> Path | None:
    """Return the file that ``--service`` names, None if it is not given.

    Raises:
        ConfError: there is no such file.
    """
    if "--service" not in conf.arguments:
        return None
    text, line = conf.arguments["--service"]
    path = conf.file.parent / text
    beside = archives / path.name if archives is not None else None
    if beside and with_io_timeout(beside.is_file, beside):
        return beside
    if not with_io_timeout(path.is_file, path):
        cause = f"service file {path} does not exist."
        fix = "put the file there, or write `optional` to use the archives' own."
        raise ConfError(conf.file, line, cause, fix=fix)
    return path


def _there(path: Path) -> bool:
    return with_io_timeout(path.exists, path)


def local_path(location: Location, base: Path) -> Path:
    """Return the path of a local location, relative to ``base``.

    Raises:
        ArchiveError: the location is neither a path nor a file URL.
    """
    if not location.scheme:
        # A shell expands the ~ at the start of a word, but not the one after `name=`.
        return base / os.path.expanduser(location.text)  # noqa: PTH111 - this one never raises
    parts = urlsplit(location.text)
    if location.scheme != "file" or parts.netloc not in ("", "localhost"):
        cause = "it is not a location that is understood."
        places = ["a path", "file:///path", *EXAMPLES]
        fix = f"give {', '.join(places[:-1])} or {places[-1]}."
        raise ArchiveError(location.text, cause, fix=fix)
    return Path(unquote(parts.path))
