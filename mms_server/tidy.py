"""Remove what no kept generation and no running release needs. Call it under the host's lock."""

from __future__ import annotations

import shutil
from pathlib import Path

from mms_server import generations
from mms_server.errors import MMSError
from mms_server.host import Host
from mms_server.metrics_files import MetricsFiles
from mms_server.release import Release


def tidy(host: Host) -> None:
    """Remove old generations, then what else nobody needs: releases, store entries, downloads.

    What a removed release has counted is added to the past, before its instance directory goes.

    When a kept generation or release cannot be read, nothing that it may need is removed.

    Raises:
        OSError: something cannot be removed.
        SupervisorError: it is not known what runs.
    """
    generations.prune(host.layout, host.settings.keep_generations)
    try:
        kept = _kept_releases(host)
        needed = _needed_entries(host, kept)
    except (MMSError, OSError) as error:
        host.report(f"nothing is cleaned up: {error}")
        return
    for release in sorted(_names(host.layout.releases) - kept):
        shutil.rmtree(host.layout.releases / release, ignore_errors=False)
    gone = _names(host.layout.instances) - kept
    MetricsFiles(host.layout, lambda _name: False).add_to_past(gone)
    for release in sorted(gone):
        shutil.rmtree(host.layout.instance(release))
    for release in sorted(_names(host.layout.roots) - kept):
        shutil.rmtree(host.layout.root(release))
    for release in sorted(host.supervisor.configured() - kept):
        host.supervisor.forget(release)
    host.store.remove_all_but(needed)
    host.archives.fetcher.tidy(host.now().timestamp())


def _names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()} if directory.is_dir() else set()


def _kept_releases(host: Host) -> set[str]:
    kept: set[str] = set()
    for number in generations.numbers(host.layout):
        kept.update(generations.load(host.layout, number).models.values())
    layout = host.layout
    doubtful = host.supervisor.configured() - kept
    for directory in (layout.releases, layout.instances, layout.roots):
        doubtful |= _names(directory) - kept
    if doubtful:
        states = host.supervisor.states(doubtful)
        kept.update(name for name in doubtful if not states[name].gone)
    return kept


def _needed_entries(host: Host, kept: set[str]) -> set[str]:
    needed: set[str] = set()
    for name in kept & _names(host.layout.releases):
        release = Release.from_json(host.layout.release_file(name).read_text("utf-8"))
        needed.add(release.archive_sha256)
        if release.service:
            needed.add(Path(release.service).parent.name)
    return needed
