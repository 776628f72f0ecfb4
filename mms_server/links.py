"""The live links: nginx sends ``/<model>/predict`` to whatever ``live/<model>.sock`` points at."""

from __future__ import annotations

from mms_server.layout import Layout

_SUFFIX = ".sock"


def read(layout: Layout) -> dict[str, str]:
    """Return endpoint name -> release id."""
    if not layout.live.is_dir():
        return {}
    links = [path for path in layout.live.iterdir() if path.is_symlink()]
    return {
        path.name.removesuffix(_SUFFIX): path.readlink().name.removesuffix(_SUFFIX)
        for path in links
        if path.name.endswith(_SUFFIX) and not path.name.startswith(".")
    }


def point(layout: Layout, model: str, release: str) -> None:
    """Let a model's link point at a release: one rename, so that no request finds no link."""
    layout.live.mkdir(parents=True, exist_ok=True)
    temporary = layout.live / f".{model}{_SUFFIX}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(f"../{layout.socket(release).name}")
    temporary.replace(layout.live_link(model))


def remove(layout: Layout, model: str) -> None:
    """Remove a model's link: nginx answers 404 for it from now on."""
    layout.live_link(model).unlink(missing_ok=True)
