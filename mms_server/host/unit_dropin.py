"""The systemd drop-in of a release's service unit: the settings of that one release.

The template unit ``mms@.service`` is the same for all releases. The drop-in adds the paths that the
release's sandbox shows, its resource limits, and the protections that its operator has lifted.
``mms apply`` writes it before the socket is opened.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from mms_server.config.sandbox import LIFTS
from mms_server.core.errors import MMSError
from mms_server.core.files import write_atomically
from mms_server.core.paths import Layout
from mms_server.host.release import Release

_NAME: Final = re.compile(r"mms@(?P<release>[A-Za-z0-9._-]+)\.service\.d")
# Characters without a meaning for systemd: no blank, quote, colon, percent sign or backslash.
_PLAIN: Final = re.compile(r"/[A-Za-z0-9._/+@~=,-]*")


def render(layout: Layout, release: Release) -> str:
    """Return the content of a release's drop-in.

    Raises:
        MMSError: a path, or the reason for a lifted protection, cannot be written in a unit file.
    """
    lines = [f"# Written by mms: what release {release.id} has of its own.", "[Service]"]
    # One user per release. A user name has no dot and at most 31 characters.
    lines.append(f"User=mms-{release.version}")
    lines += [f"BindReadOnlyPaths={path}" for path in _plain(_read_only_paths(layout, release))]
    if release.conversion:
        # The first start makes it, so it exists from the second start on.
        lines.append(f"BindReadOnlyPaths=-{layout.store / release.conversion}")
    if release.log.file:
        # All models share one log file, as in MXNet Model Server.
        lines += [f"BindPaths={path}" for path in _plain([layout.log])]
    lines += [f"{name}={value}" for name, value in release.confinement.limits().items()]
    if release.confinement.lifted:
        lines.append(f"# Not protected: {_one_line(release.confinement.reason)}")
    for word in release.confinement.lifted:
        lines += [f"# {word}", *LIFTS[word].directives]
    return "\n".join(lines) + "\n"


def write(layout: Layout, release: str, content: str) -> bool:
    """Write a release's drop-in unless it has this content; return whether it was written.

    Raises:
        OSError: the drop-in cannot be written.
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
    """Remove a release's drop-in, but not the files that an administrator has put beside it.

    Raises:
        OSError: the drop-in cannot be removed.
    """
    file = layout.drop_in(release)
    if not file.parent.is_dir():
        return
    for path in file.parent.iterdir():
        # Also the temporary file of a writer that was killed.
        if path.name == file.name or path.name.startswith(f".{file.name}."):
            path.unlink(missing_ok=True)
    if not any(file.parent.iterdir()):
        file.parent.rmdir()


def releases(layout: Layout) -> set[str]:
    """Return the releases that have a drop-in, or the temporary file of one."""
    matches = (_NAME.fullmatch(path.name) for path in layout.units.glob("mms@*.service.d"))
    names = {match["release"] for match in matches if match}
    return {name for name in names if any(layout.drop_in(name).parent.glob("*release.conf*"))}


def is_plain(path: Path) -> bool:
    """Return whether an absolute path can be written in a unit file without quoting."""
    return _PLAIN.fullmatch(str(path)) is not None and ".." not in path.parts


def _read_only_paths(layout: Layout, release: Release) -> list[Path]:
    return [*(layout.store / entry for entry in release.entries), Path(release.runtime)]


def _plain(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if not is_plain(path):
            raise MMSError(
                f"the path {str(path)!r} cannot be written in a systemd unit.",
                fix="use a path of letters, digits and . _ / + @ ~ = , - only.",
            )
        yield path


def _one_line(reason: str) -> str:
    if not reason.isprintable() or "\\" in reason:
        raise MMSError(
            f"the reason {reason!r} cannot be written in a systemd unit.",
            fix="write it in printable characters, without a backslash.",
        )
    return reason
