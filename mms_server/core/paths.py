"""Where things are on a host. Nothing else in the project spells these paths."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """Directories of one host; tests pass others.

    ``state`` and ``log`` outlive a reboot, ``run`` does not, ``etc`` is written by the roles,
    ``nginx`` belongs to nginx, ``units`` is systemd's directory for the administrator.
    """

    state: Path = Path("/var/lib/mms")
    run: Path = Path("/run/mms")
    etc: Path = Path("/etc/mms")
    nginx: Path = Path("/etc/nginx")
    units: Path = Path("/etc/systemd/system")
    log: Path = Path("/var/log/mms")

    @classmethod
    def under(cls, root: Path) -> Layout:
        """Return the same tree below ``root``: how a test gets a host of its own."""
        return cls(
            state=root / "var/lib/mms",
            run=root / "run/mms",
            etc=root / "etc/mms",
            nginx=root / "etc/nginx",
            units=root / "etc/systemd/system",
            log=root / "var/log/mms",
        )

    @property
    def store(self) -> Path:
        """Unpacked archives, one directory per SHA-256 of the archive."""
        return self.state / "store"

    @property
    def fetched(self) -> Path:
        """Downloads under way, and what is known of the locations they come from."""
        return self.state / "fetched"

    @property
    def releases(self) -> Path:
        """One directory per release, holding ``release.json``."""
        return self.state / "releases"

    @property
    def generations(self) -> Path:
        """What was live and when, one file per change."""
        return self.state / "generations"

    @property
    def live(self) -> Path:
        """Links from ``<model>.sock`` to the live release's socket: nginx's routing table."""
        return self.run / "live"

    @property
    def instances(self) -> Path:
        """One directory per release: all that the release's processes can write to."""
        return self.run / "instances"

    @property
    def warm(self) -> Path:
        """Until when replaced releases stay loaded, one file per release."""
        return self.run / "warm"

    @property
    def metrics(self) -> Path:
        """What the host itself counts, and what releases that are gone have counted."""
        return self.run / "metrics"

    @property
    def publication(self) -> Path:
        """The number of the fleet's publication that this host was last brought to."""
        return self.state / "publication"

    @property
    def journal(self) -> Path:
        """What runs over the fleet did to this host."""
        return self.state / "journal"

    @property
    def deaths(self) -> Path:
        """Death certificates, one file each."""
        return self.state / "deaths"

    @property
    def quarantine(self) -> Path:
        """Bodies of requests in which a release died twice, for root alone."""
        return self.state / "quarantine"

    @property
    def roots(self) -> Path:
        """One empty directory per release, on which what it may see is mounted."""
        return self.run / "roots"

    def instance(self, release_id: str) -> Path:
        """Return the directory that a release's processes write to."""
        return self.instances / release_id

    def root(self, release_id: str) -> Path:
        """Return the directory that becomes the root of what a release sees."""
        return self.roots / release_id

    def counts(self, release_id: str) -> Path:
        """Return the directory of what a release's processes count."""
        return self.instance(release_id) / "metrics"

    def socket(self, release_id: str) -> Path:
        """Return the socket that systemd holds for a release."""
        return self.run / f"{release_id}.sock"

    def live_link(self, model: str) -> Path:
        """Return the link that nginx follows for a model."""
        return self.live / f"{model}.sock"

    def release_file(self, release_id: str) -> Path:
        """Return the file that describes a release."""
        return self.releases / release_id / "release.json"

    def measured_file(self, release_id: str) -> Path:
        """Return the file of what a release was measured to need."""
        return self.releases / release_id / "measured.json"

    def hold_file(self, release_id: str) -> Path:
        """Return the file while which is there a release's server does not load its model."""
        return self.instance(release_id) / "hold"

    def alive_file(self, release_id: str) -> Path:
        """Return the file whose record locks tell which processes of a release are up."""
        return self.instance(release_id) / "alive.lock"

    def drop_in(self, release_id: str) -> Path:
        """Return the file that adds to the service unit what one release has of its own."""
        return self.units / f"mms@{release_id}.service.d" / "release.conf"
