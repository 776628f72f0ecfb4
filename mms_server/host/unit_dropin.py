"""The drop-in of a release's unit: what one release has of its own.

The template ``mms@.service`` holds for all. A drop-in adds the files that a release sees, its
limits, and the protections that its operator has lifted. ``mms apply`` writes it before the socket
is opened.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mms_server.config.sandbox import LIFTS
from mms_server.core.errors import MMSError
from mms_server.core.files import write_atomically
from mms_server.core.paths import Layout
from mms_server.host.release import Release

_NAME: Final = re.compile(r"mms@(?P<release>[A-Za-z0-9._-]+)\.service\.d")
# What systemd takes as it is: no blank, quote, colon, percent sign or backslash.
_PLAIN: Final = re.compile(r"/[A-Za-z0-9._/+@~=,-]*")


def text(layout: Layout, release: Release) -> str:
    """Return the content of a release's drop-in.

    Raises:
        MMSError: a path cannot stand in a unit file.
    """
    lines = [f"# Written by mms: what release {release.id} has of its own.", "[Service]"]
    # Each release has its own; a user's name takes no dot and no more than 31 characters.
    lines.append(f"User=mms-{release.version}")
    lines += [f"BindReadOnlyPaths={path}" for path in _plain(_seen(layout, release))]
    if release.conversion:
        # There from the second start on.
        lines.append(f"BindReadOnlyPaths=-{layout.store / release.conversion}")
    if release.log.file:
        # One log file of all models, as MXNet Model Server had it.
        lines += [f"BindPaths={path}" for path in _plain(iter([layout.log]))]
    lines += [f"{name}={value}" for name, value in release.confinement.limits().items()]
    if release.confinement.lifted:
        lines.append(f"# Not protected: {_one_line(release.confinement.reason)}")
    for word in release.confinement.lifted:
        lines += [f"# {word}", *LIFTS[word]]
    return "\n".join(lines) + "\n"


def write(layout: Layout, release: str, content: str) -> bool:
    """Write a release's drop-in unless it is there; return whether it was written.

    Raises:
        OSError: it cannot be written.
    """
    file = layout.drop_in(release)
    try:
        if file.read_text("utf-8") == content:
            return False
    except (FileNotFoundError, UnicodeDecodeError):
        pass
    write_atomically(file, content)
    return True


def remove(layout: Layout, release: str) -> None:
    """Remove a release's drop-in, and leave what an administrator has put beside it.

    Raises:
        OSError: it cannot be removed.
    """
    file = layout.drop_in(release)
    if not file.parent.is_dir():
        return
    for path in file.parent.iterdir():
        # Those of a writer that was killed too.
        if path.name == file.name or path.name.startswith(f".{file.name}."):
            path.unlink(missing_ok=True)
    if not any(file.parent.iterdir()):
        file.parent.rmdir()


def releases(layout: Layout) -> set[str]:
    """Return the releases that have a drop-in, or what is left of one."""
    found = (_NAME.fullmatch(path.name) for path in layout.units.glob("mms@*.service.d"))
    names = {name["release"] for name in found if name}
    return {name for name in names if any(layout.drop_in(name).parent.glob("*release.conf*"))}


def is_plain(path: Path) -> bool:
    """Return whether an absolute path can stand in a unit file as it is."""
    return _PLAIN.fullmatch(str(path)) is not None and ".." not in path.parts


def _seen(layout: Layout, release: Release) -> Iterator[Path]:
    for entry in release.entries:
        yield layout.store / entry
    yield Path(release.runtime)


def _plain(paths: Iterator[Path]) -> Iterator[Path]:
    for path in paths:
        if not is_plain(path):
            raise MMSError(
                f"the path {str(path)!r} cannot stand in a unit of systemd.",
                fix="use a path of letters, digits and . _ / + @ ~ = , - only.",
            )
        yield path


def _one_line(words: str) -> str:
    if not words.isprintable() or "\\" in words:
        raise MMSError(
            f"the reason {words!r} cannot stand in a unit of systemd.",
            fix="write it in printable characters, without a backslash.",
        )
    return words
