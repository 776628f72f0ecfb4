"""The live links: nginx sends ``/<model>/predict`` to whatever ``live/<model>.sock`` points at.

While exactly one model is served, ``@only.sock`` leads to it, for ``/invocations`` without a
name. (No model's name begins with "@".)
"""

from __future__ import annotations

from mms_server.core.files import replace_link
from mms_server.core.paths import Layout

_SUFFIX = ".sock"
ONLY = "@only"
"""The name of the one model that is served, where a request names none."""


def read(layout: Layout) -> dict[str, str]:
    """Return endpoint name -> release id."""
    if not layout.live.is_dir():
        return {}
    links = [path for path in layout.live.iterdir() if path.is_symlink()]
    return {
        path.name.removesuffix(_SUFFIX): path.readlink().name.removesuffix(_SUFFIX)
        for path in links
        if path.name.endswith(_SUFFIX) and not path.name.startswith((".", ONLY))
    }


def point(layout: Layout, model: str, release: str) -> None:
    """Let a model's link point at a release: one rename, so that no request finds no link."""
    layout.live.mkdir(parents=True, exist_ok=True)
    replace_link(layout.live_link(model), f"../{layout.socket(release).name}")
    follow_only(layout)


def remove(layout: Layout, model: str) -> None:
    """Remove a model's link: nginx answers 404 for it from now on."""
    layout.live_link(model).unlink(missing_ok=True)
    follow_only(layout)


def follow_only(layout: Layout) -> None:
    """Let ``@only.sock`` lead to the only model, or remove it."""
    names = list(read(layout))
    link = layout.live_link(ONLY)
    if len(names) != 1:
        link.unlink(missing_ok=True)
        return
    target = layout.live_link(names[0]).name
    if not link.is_symlink() or str(link.readlink()) != target:
        replace_link(link, target)
