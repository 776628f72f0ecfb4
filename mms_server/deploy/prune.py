"""Remove what no kept generation and no running release needs. Call it under the host's lock."""

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
    """What nobody needs: generations by number, the rest by name; ``bytes`` is what it takes."""

    generations: tuple[int, ...] = ()
    releases: tuple[str, ...] = ()
    entries: tuple[str, ...] = ()
    downloads: tuple[str, ...] = ()
    size_bytes: int = 0

    def __bool__(self) -> bool:
        return bool(self.generations or self.releases or self.entries or self.downloads)


def find_unused(host: Host) -> PruneList:
    """Return what :func:`prune` would remove; what is only bookkeeping is not told.

    Raises:
        MMSError: a kept generation or release cannot be read: then nothing is rubbish.
        OSError: likewise.
        SupervisorError: it is not known what runs.
    """
    return _look(host, _kept_releases(host))


def _look(host: Host, kept: Collection[str]) -> PruneList:
    releases = sorted(_names(host.layout.releases) - set(kept))
    entries = host.store.others(_needed_entries(host, set(kept)))
    downloads = host.archives.fetcher.stale(host.now().timestamp())
    places = [host.layout.releases / name for name in releases]
    places += [host.store.entry(name) for name in entries]
    return PruneList(
        tuple(generations.numbers(host.layout)[host.settings.keep_generations :]),
        tuple(releases),
        tuple(entries),
        tuple(path.name for path in downloads),
        sum(map(_size, [*places, *downloads])),
    )


def prune(host: Host) -> PruneList:
    """Remove old generations, then what else nobody needs: releases, store entries, downloads.

    What a removed release has counted is added to the past, before its instance directory goes.
    Returned is what was removed.

    When a kept generation or release cannot be read, nothing that it may need is removed.

    Raises:
        OSError: something cannot be removed.
        SupervisorError: it is not known what runs.
    """
    old = tuple(generations.numbers(host.layout)[host.settings.keep_generations :])
    generations.prune(host.layout, host.settings.keep_generations)
    try:
        kept = _kept_releases(host)
        found = _look(host, kept)
        needed = _needed_entries(host, kept)
    except (MMSError, OSError) as error:
        host.report(f"nothing is cleaned up: {error}")
        return PruneList(old)
    for release in found.releases:
        shutil.rmtree(host.layout.releases / release, ignore_errors=False)
    gone = _names(host.layout.instances) - kept
    MetricsFiles(host.layout, lambda _name: False).add_to_past(gone)
    for release in sorted(gone):
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


def _size(place: Path) -> int:
    files = place.rglob("*") if place.is_dir() else [place]
    return sum(path.lstat().st_size for path in files if not path.is_dir())


def _names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()} if directory.is_dir() else set()


def _kept_releases(host: Host) -> set[str]:
    kept: set[str] = set()
    for number in generations.numbers(host.layout)[: host.settings.keep_generations]:
        kept.update(generations.load(host.layout, number).models.values())
    layout = host.layout
    doubtful = host.supervisor.configured() | warm_standby.read(layout).keys()
    for directory in (layout.releases, layout.instances, layout.roots):
        doubtful |= _names(directory)
    doubtful -= kept
    if doubtful:
        states = host.supervisor.states(doubtful)
        kept.update(name for name in doubtful if not states[name].gone)
    return kept


def _needed_entries(host: Host, kept: set[str]) -> set[str]:
    needed: set[str] = set()
    for name in kept & _names(host.layout.releases):
        release = Release.from_json(host.layout.release_file(name).read_text("utf-8"))
        needed.update((*release.entries, release.conversion))
    return needed
