"""The live links: nginx sends ``/<model>/predict`` to the target of ``live/<model>.sock``.

While the host serves exactly one model, ``@only.sock`` points at it, for ``/invocations`` without a
model name. (No model's name begins with "@".)
"""

from __future__ import annotations

from mms_server.core.files import replace_link
from mms_server.core.paths import Layout

_SUFFIX = ".sock"
ONLY = "@only"
"""The link's name for the only model of the host."""


def read(layout: Layout) -> dict[str, str]:
    """Return the id of the live release of each endpoint name."""
    if not layout.live.is_dir():
        return {}
    links = [path for path in layout.live.iterdir() if path.is_symlink()]
    return {
        path.name.removesuffix(_SUFFIX): path.readlink().name.removesuffix(_SUFFIX)
        for path in links
        if path.name.endswith(_SUFFIX) and not path.name.startswith((".", ONLY))
    }


def point(layout: Layout, model: str, release: str) -> None:
    """Let a model's link point at a release. It is one rename, so every request finds a link."""
    layout.live.mkdir(parents=True, exist_ok=True)
    replace_link(layout.live_link(model), f"../{layout.socket(release).name}")
    update_only_link(layout)


def remove(layout: Layout, model: str) -> None:
    """Remove a model's link: nginx answers 404 for the model from now on."""
    layout.live_link(model).unlink(missing_ok=True)
    update_only_link(layout)


def update_only_link(layout: Layout) -> None:
    """Let ``@only.sock`` point at the only model; remove it if there is not exactly one."""
    names = list(read(layout))
    link = layout.live_link(ONLY)
    if len(names) != 1:
        link.unlink(missing_ok=True)
        return
    target = layout.live_link(names[0]).name
    if not link.is_symlink() or str(link.readlink()) != target:
        replace_link(link, target)
