"""The context of a command on one host: paths, settings, supervisor, proxy, clocks."""

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
from mms_server.host.supervisor import Supervisor
from mms_server.host.systemd import Systemd
from mms_server.metrics.system_metrics import HostMemory, host_memory


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Host:
    """One host.

    ``report`` is called with the text of each step before the step. ``by`` is the user who makes a
    change; the generation records it. ``uptime`` returns seconds since the boot, which are the same
    in every process (``time.monotonic`` on Linux).
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
        """Return the resolver that puts archives into the store."""
        return ArchiveResolver(self.store, self.fetcher(self.layout.fetched))

    def fetcher(self, directory: Path) -> Fetcher:
        """Return the downloader of remote archives, with its files in ``directory``."""
        limits = Limits(self.settings.max_archive_bytes, self.settings.fetch_timeout_s)
        return Fetcher(directory, parse_words(self.settings.fetch_allow), limits, self.report)

    def observe(self, releases: Mapping[str, str]) -> ObservedState:
        """Return the observed state, with the units of ``releases``, by one supervisor call."""
        generation = generations.newest(self.layout)
        links = live_links.read(self.layout)
        known = {
            *releases.values(),
            *links.values(),
            *(generation.models if generation else {}).values(),
        }
        served = frozenset(
            name for kept in generations.readable(self.layout) for name in kept.models.values()
        )
        return ObservedState(
            generation,
            self.supervisor.states(known),
            links,
            warm_standby.read(self.layout),
            self.uptime(),
            served,
        )

    def models_of(self, release_id: str) -> list[str]:
        """Return the models of a release; if it cannot be read, the name in its id."""
        release = self.release(release_id)
        return list(release.parts) if release else [model_of(release_id)]

    def release(self, release_id: str) -> Release | None:
        """Return a release that is on this host; None if it cannot be read."""
        try:
            return Release.from_json(self.layout.release_file(release_id).read_text("utf-8"))
        except (OSError, MMSError):
            return None
