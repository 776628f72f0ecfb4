"""The paths of all files and directories on a host. No other module spells them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """The directories of one host; tests pass others.

    ``state`` and ``log`` survive a reboot; ``run`` does not. The roles write ``etc``. ``nginx`` is
    nginx's configuration. ``units`` is systemd's directory for the administrator's units.
    """

    state: Path = Path("/var/lib/mms")
    run: Path = Path("/run/mms")
    etc: Path = Path("/etc/mms")
    nginx: Path = Path("/etc/nginx")
    units: Path = Path("/etc/systemd/system")
    log: Path = Path("/var/log/mms")

    @classmethod
    def under(cls, root: Path) -> Layout:
        """Return the same tree below ``root``, for a test."""
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
        """The downloads under way, and the metadata of the locations that were downloaded."""
        return self.state / "fetched"

    @property
    def releases(self) -> Path:
        """The releases, one directory each, with ``release.json``."""
        return self.state / "releases"

    @property
    def generations(self) -> Path:
        """The generations, one file each: the live release of each model, by time."""
        return self.state / "generations"

    @property
    def live(self) -> Path:
        """The links from ``<model>.sock`` to the live release's socket: nginx's routing table."""
        return self.run / "live"

    @property
    def instances(self) -> Path:
        """The instance directories, one per release: its processes can write nowhere else."""
        return self.run / "instances"

    @property
    def warm(self) -> Path:
        """The times until which replaced releases stay loaded, one file per release."""
        return self.run / "warm"

    @property
    def metrics(self) -> Path:
        """The metrics of the host's own processes, and the sum over the removed releases."""
        return self.run / "metrics"

    @property
    def publication(self) -> Path:
        """The number of the fleet's publication that was last applied to this host."""
        return self.state / "publication"

    @property
    def journal(self) -> Path:
        """The changes that runs over the fleet made to this host."""
        return self.state / "journal"

    @property
    def deaths(self) -> Path:
        """The death certificates, one file each."""
        return self.state / "deaths"

    @property
    def quarantine(self) -> Path:
        """The bodies of requests that killed a release twice; only root can read them."""
        return self.state / "quarantine"

    @property
    def roots(self) -> Path:
        """The root directories, one empty directory per release, for the mounts of its sandbox."""
        return self.run / "roots"

    def instance(self, release_id: str) -> Path:
        """Return the directory that a release's processes can write to."""
        return self.instances / release_id

    def root(self, release_id: str) -> Path:
        """Return the directory that is the root directory of a release's sandbox."""
        return self.roots / release_id

    def release_metrics(self, release_id: str) -> Path:
        """Return the directory of the metrics of a release's processes."""
        return self.instance(release_id) / "metrics"

    def socket(self, release_id: str) -> Path:
        """Return the Unix socket of a release, on which systemd listens."""
        return self.run / f"{release_id}.sock"

    def live_link(self, model: str) -> Path:
        """Return the link to the live release's socket, which nginx follows for a model."""
        return self.live / f"{model}.sock"

    def release_file(self, release_id: str) -> Path:
        """Return the file that describes a release."""
        return self.releases / release_id / "release.json"

    def measured_file(self, release_id: str) -> Path:
        """Return the file with the measured resource profile of a release."""
        return self.releases / release_id / "measured.json"

    def hold_file(self, release_id: str) -> Path:
        """Return the start barrier: while it exists, the release does not load its model."""
        return self.instance(release_id) / "hold"

    def alive_file(self, release_id: str) -> Path:
        """Return the file whose record locks show which processes of a release are alive."""
        return self.instance(release_id) / "alive.lock"

    def drop_in(self, release_id: str) -> Path:
        """Return the drop-in of the service unit with the settings of one release."""
        return self.units / f"mms@{release_id}.service.d" / "release.conf"
