"""The live links, and the link to the only model."""

from __future__ import annotations

from pathlib import Path

from mms_server.core.paths import Layout
from mms_server.host import live_links


def _only(layout: Layout) -> Path | None:
    link = layout.live_link("@only")
    return link.resolve() if link.is_symlink() else None


def test_the_only_model_has_a_second_link_that_read_leaves_out(tmp_path: Path) -> None:
    layout = Layout.under(tmp_path)
    live_links.point(layout, "a", "a.1")
    assert _only(layout) == layout.socket("a.1").resolve()
    live_links.point(layout, "a", "a.2")
    assert _only(layout) == layout.socket("a.2").resolve()
    live_links.point(layout, "b", "b.1")
    assert _only(layout) is None
    live_links.remove(layout, "a")
    assert _only(layout) == layout.socket("b.1").resolve()
    assert live_links.read(layout) == {"b": "b.1"}
    live_links.remove(layout, "b")
    assert _only(layout) is None
    assert list(layout.live.iterdir()) == []


def test_a_stale_link_to_the_only_model_is_removed(tmp_path: Path) -> None:
    layout = Layout.under(tmp_path)
    live_links.point(layout, "a", "a.1")
    layout.live_link("b").symlink_to("../b.1.sock")
    live_links.update_only_link(layout)
    assert _only(layout) is None
