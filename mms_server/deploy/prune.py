"""The removal of unused generations, releases, store entries and downloads.

An item is unused if no kept generation and no running release needs it. The caller holds the host's
lock.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from mms_server.core.errors import MMSError
from mms_server.deploy.host_context import Host
from mms_server.host import generations, warm_standby
from mms_server.host.release import Release
from mms_server.metrics.multiprocess_files import MetricsFiles


@dataclass(frozen=True)
class PruneList:
    """The unused items: generations by number, the others by name; ``size_bytes`` is their size."""

    generations: tuple[int, ...] = ()
    releases: tuple[str, ...] = ()
    entries: tuple[str, ...] = ()
    downloads: tuple[str, ...] = ()
    size_bytes: int = 0

    def __bool__(self) -> bool:
        return bool(self.generations or self.releases or self.entries or self.downloads)


def find_unused(host: Host) -> PruneList:
    """Return the items that :func:`prune` would remove, without those of bookkeeping.

    Raises:
        MMSError: a kept generation or release cannot be read, so it is not known what it needs.
        OSError: likewise.
        SupervisorError: systemctl fails, so it is not known which releases run.
    """
    return _find(host, _kept_releases(host))


def _find(host: Host, kept: Collection[str]) -> PruneList:
    releases = sorted(_names(host.layout.releases) - set(kept))
    entries = host.store.others(_needed_entries(host, set(kept)))
    downloads = host.archives.fetcher.stale(host.now().timestamp())
    paths = [host.layout.releases / name for name in releases]
    paths += [host.store.entry(name) for name in entries]
    return PruneList(
        tuple(generations.numbers(host.layout)[host.settings.keep_generations :]),
        tuple(releases),
        tuple(entries),
        tuple(path.name for path in downloads),
        sum(map(_size, [*paths, *downloads])),
    )


def prune(host: Host) -> PruneList:
    """Remove old generations, then unused releases, store entries and downloads; return them.

    The counters of a removed release are added to the past before its instance directory is
    removed. If a kept generation or release cannot be read, only old generations are removed.

    Raises:
        OSError: an item cannot be removed.
        SupervisorError: systemctl fails, so it is not known which releases run.
    """
    old = tuple(generations.numbers(host.layout)[host.settings.keep_generations :])
    generations.prune(host.layout, host.settings.keep_generations)
    try:
        kept = _kept_releases(host)
        found = _find(host, kept)
        needed = _needed_entries(host, kept)
    except (MMSError, OSError) as error:
        host.report(f"no unused release or archive is removed: {error}")
        return PruneList(old)
    for release in found.releases:
        shutil.rmtree(host.layout.releases / release, ignore_errors=False)
    removed = _names(host.layout.instances) - kept
    MetricsFiles(host.layout, lambda _name: False).add_to_past(removed)
    for release in sorted(removed):
        shutil.rmtree(host.layout.instance(release))
    for release in sorted(_names(host.layout.roots) - kept):
        shutil.rmtree(host.layout.root(release))
    for release in sorted(host.supervisor.configured() - kept):
        host.supervisor.forget(release)
    host.supervisor.unload_ended()
    for release in warm_standby.read(host.layout).keys() - kept:
        warm_standby.forget(host.layout, release)
    host.store.remove_all_but(needed)
    for name in found.downloads:
        (host.layout.fetched / name).unlink(missing_ok=True)
    return PruneList(old, found.releases, found.entries, found.downloads, found.size_bytes)


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if not file.is_dir())


def _names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()} if directory.is_dir() else set()


def _kept_releases(host: Host) -> set[str]:
    """Return the releases of kept generations, and those whose units are still there."""
    kept: set[str] = set()
    for number in generations.numbers(host.layout)[: host.settings.keep_generations]:
        kept.update(generations.load(host.layout, number).models.values())
    layout = host.layout
    others = host.supervisor.configured() | warm_standby.read(layout).keys()
    for directory in (layout.releases, layout.instances, layout.roots):
        others |= _names(directory)
    others -= kept
    if others:
        states = host.supervisor.states(others)
        kept.update(name for name in others if not states[name].gone)
    return kept


def _needed_entries(host: Host, kept: set[str]) -> set[str]:
    needed: set[str] = set()
    for name in kept & _names(host.layout.releases):
        release = Release.from_json(host.layout.release_file(name).read_text("utf-8"))
        needed.update((*release.entries, release.conversion))
    return needed
