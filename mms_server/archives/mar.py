"""``MAR-INF/MANIFEST.json``: the manifest of a 1.x archive, ``.mar`` (compatibility.md, 17).

The handler is ``file.py:function``, or a file with a class. If the handler names no function and
the archive has a signature.json, the archive holds a service of 0.4 and is served like one.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from mms_server.archives.manifest import Manifest
from mms_server.archives.signature import parse_object
from mms_server.core.errors import ArchiveError

MANIFEST: Final = "MAR-INF/MANIFEST.json"
_SIGNATURE: Final = "signature.json"
_FUNCTION: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MODULE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
_FIX: Final = "make the archive again with model-archiver."


def is_mar(directory: Path) -> bool:
    """Return whether an unpacked archive is a 1.x archive."""
    return (directory / MANIFEST).is_file()


def read_manifest(text: str, directory: Path) -> Manifest:
    """Return the manifest with the fields of 0.4; ``raw`` has the others that a 0.4 service reads.

    Raises:
        ArchiveError: the manifest names no model or no handler, or the handler is not in the
            archive.
    """
    data = parse_object(text, directory, MANIFEST)
    model = data.get("model")
    if not isinstance(model, dict):
        raise ArchiveError(directory, f"model in {MANIFEST} is not an object.", fix=_FIX)
    name, handler = (_string(model, key, directory) for key in ("modelName", "handler"))
    module, _, function = handler.partition(":")
    if not _MODULE.fullmatch(module) or (function and not _FUNCTION.fullmatch(function)):
        cause = f"model.handler {handler!r} in {MANIFEST} is not file:function."
        raise ArchiveError(directory, cause, fix=_FIX)
    service = _handler_file(module, directory)
    legacy = not function and (directory / _SIGNATURE).is_file()
    fields = {
        "Model-Name": name,
        "Description": str(model.get("description") or name),
        "Model-Format": "MXNet-Symbolic",
        "Service": service,
        "Signature": _SIGNATURE if legacy else "",
        "Symbol": _only(directory, "*-symbol.json"),
        "Parameters": _only(directory, "*.params"),
    }
    return Manifest(
        model_name=name,
        model_format=fields["Model-Format"],
        service=service,
        signature=fields["Signature"],
        symbol=fields["Symbol"],
        parameters=fields["Parameters"],
        raw={**data, "Model": fields},
        function=function,
    )


def _handler_file(module: str, directory: Path) -> str:
    """Return the path, in the archive, of the module that a handler names."""
    names = [module, f"{module}.py", f"{module.replace('.', '/')}.py"]
    for name in names[0 if module.endswith(".py") else 1 :]:
        if (directory / name).is_file():
            return name
    cause = f"the handler {module} is named in {MANIFEST} but is not in the archive."
    raise ArchiveError(directory, cause, fix=_FIX)


def _only(directory: Path, pattern: str) -> str:
    found = list(directory.glob(pattern))
    return found[0].name if len(found) == 1 else ""


def _string(model: dict[str, Any], key: str, directory: Path) -> str:
    value = model.get(key)
    if not isinstance(value, str) or not value:
        raise ArchiveError(directory, f"model.{key} in {MANIFEST} is not a string.", fix=_FIX)
    return value
