"""``mms why``: death certificates of a model, a release, a request or an id, as text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mms_server.core.errors import MMSError
from mms_server.core.paths import Layout
from mms_server.crashes.causes import Cause
from mms_server.crashes.report import Certificate, RecordError
from mms_server.host import generations
from mms_server.host.release import model_of

_SHOWN: Final = 5
_INDENT: Final = "\n            "
_MIB: Final = 1024 * 1024


def find(layout: Layout, name: str) -> list[Certificate]:
    """Return the certificates about ``name``, the newest first; for a model also its group's.

    Raises:
        OSError: the user may not read them.
    """
    found = [row for file in _files(layout.deaths) if (row := _read(file)) is not None]
    # A crash of a group's process concerns each of its models.
    meant = {name, _release_name(layout, name)} - {""}
    about = [row for row in found if meant & _names(row)]
    return sorted(about, key=lambda row: (row.at, row.id), reverse=True)


def _release_name(layout: Layout, model: str) -> str:
    """Return the name of the release that serves a model, empty if that is not known."""
    try:
        generation = generations.newest(layout)
    except MMSError:
        # `mms why` has to work when other things are broken.
        return ""
    served = generation.models if generation else {}
    return model_of(served.get(model, ""))


def text(name: str, found: Sequence[Certificate]) -> str:
    """Return the certificates as text; only the newest ones if there are many."""
    if not found:
        return f"No process died under the name {name}, as far as this host remembers."
    parts = [_one(row) for row in found[:_SHOWN]]
    if len(found) > _SHOWN:
        parts.append(f"{len(found) - _SHOWN} older ones: `mms why {name} --json` shows all.")
    return "\n\n".join(parts)


def _files(directory: Path) -> list[Path]:
    try:
        return sorted(directory.glob("death-*.json"))
    except FileNotFoundError:
        return []


def _read(file: Path) -> Certificate | None:
    try:
        return Certificate.from_json(file.read_bytes())
    except (FileNotFoundError, RecordError):
        return None


def _names(row: Certificate) -> set[str]:
    return {row.id, row.release, row.model, *(request.id for request in row.requests)}


def _one(row: Certificate) -> str:
    how = row.signal or (f"exit code {row.exit_code}" if row.exit_code is not None else "")
    lines = [
        f"{row.id}  {row.at}",
        f"  process   {row.role} {row.pid or ''} of {row.release}, after {row.lived_s:g} s",
        f"  cause     {row.cause}: {Cause.of(row.cause).words}{f' ({how})' if how else ''}",
    ]
    for request in row.requests:
        what = f"{request.id or 'without an id'}, computed for {request.seconds:g} s"
        lines.append(f"  request   {what}; SHA-256 of its input {request.digest}")
    memory = f"  memory    {row.peak_bytes / _MIB:.0f} MiB at most"
    begun = f", {row.resident_bytes / _MIB:.0f} MiB when the request began"
    lines.append(memory + (begun if row.resident_bytes else ""))
    if row.refused:
        where = f"its body is {row.replay}" if row.replay else "its body was too large to keep"
        lines.append(f"  refused   this input gets 422 from now on; {where}")
    lines += _block("log", row.log) + _block("stack", row.stack.splitlines())
    return "\n".join(lines)


def _block(title: str, rows: Sequence[str]) -> list[str]:
    # A model may have printed control characters: the terminal must not act on them.
    clean = ["".join(char if char.isprintable() else "?" for char in row) for row in rows]
    return [f"  {title:10}{_INDENT.join(clean)}"] if clean else []
