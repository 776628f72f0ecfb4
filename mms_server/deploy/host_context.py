"""One host as the commands see it: its places, its settings, and what they act through."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from mms_server.archives.content_store import Store
from mms_server.archives.fetching.downloader import Fetcher, Limits
from mms_server.archives.resolver import ArchiveResolver
from mms_server.config.settings import Settings
from mms_server.config.url_policy import parse_words
from mms_server.core.errors import MMSError
from mms_server.core.paths import Layout
from mms_server.deploy.plan import ObservedState
from mms_server.deploy.socket_probe import Probe, probe
from mms_server.host import generations, live_links, warm_standby
from mms_server.host.nginx import Nginx, Proxy
from mms_server.host.release import Release, model_of
from mms_server.host.systemd import Supervisor, Systemd
from mms_server.metrics.system_metrics import HostMemory, host_memory


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Host:
    """``report`` is told each step before it is taken; ``by`` is who acts, for the record.

    ``uptime`` is in seconds: Linux counts them from the boot, alike in every process.
    """

    layout: Layout
    settings: Settings
    supervisor: Supervisor
    by: str
    report: Callable[[str], None]
    probe: Probe = probe
    now: Callable[[], datetime] = field(default=_utc_now)
    proxy: Proxy = field(default_factory=lambda: Nginx(Systemd()))
    uptime: Callable[[], float] = time.monotonic
    memory: Callable[[], HostMemory] = host_memory

    @property
    def store(self) -> Store:
        """Return the store of unpacked archives."""
        return Store(self.layout.store, self.settings.max_archive_bytes)

    @property
    def archives(self) -> ArchiveResolver:
        """Return the way archives come into the store."""
        return ArchiveResolver(self.store, self.fetcher(self.layout.fetched))

    def fetcher(self, directory: Path) -> Fetcher:
        """Return what fetches remote archives, with its files in ``directory``."""
        limits = Limits(self.settings.max_archive_bytes, self.settings.fetch_timeout_s)
        return Fetcher(directory, parse_words(self.settings.fetch_allow), limits, self.report)

    def observe(self, releases: Mapping[str, str]) -> ObservedState:
        """Return the host as it is; asks the supervisor once."""
        generation = generations.newest(self.layout)
        linked = live_links.read(self.layout)
        known = {
            *releases.values(),
            *linked.values(),
            *(generation.models if generation else {}).values(),
        }
        served = frozenset(
            name for each in generations.readable(self.layout) for name in each.models.values()
        )
        return ObservedState(
            generation,
            self.supervisor.states(known),
            linked,
            warm_standby.read(self.layout),
            self.uptime(),
            served,
        )

    def models_of(self, release_id: str) -> list[str]:
        """Return the models that a release serves; of one that cannot be read, its name."""
        release = self.release(release_id)
        return list(release.parts) if release else [model_of(release_id)]

    def release(self, release_id: str) -> Release | None:
        """Return a release that is on this host, None if it cannot be read."""
        try:
            return Release.from_json(self.layout.release_file(release_id).read_text("utf-8"))
        except (OSError, MMSError):
            return None
