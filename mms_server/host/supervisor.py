"""What the rest of a host needs of a supervisor; systemd is one, tests have another."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class UnitState:
    """The states of a release's two units, as systemd names them: ``active``, ``failed`` ...

    ``enabled``: both units start at boot. ``half_enabled``: at least one of them does.
    """

    service: str = "inactive"
    socket: str = "inactive"
    enabled: bool = False
    half_enabled: bool = False

    @property
    def up(self) -> bool:
        """Return whether the release serves."""
        return (self.service, self.socket) == ("active", "active")

    @property
    def gone(self) -> bool:
        """Return whether both units are inactive and neither starts at boot."""
        inactive = (self.service, self.socket) == ("inactive", "inactive")
        return inactive and not self.boots

    @property
    def boots(self) -> bool:
        """Return whether a unit of the release starts at boot."""
        return self.enabled or self.half_enabled


@dataclass(frozen=True)
class Usage:
    """The memory of a release's control group, and its restarts; None if a value is not known.

    ``active_since_s`` is the host's uptime, in seconds, at which the service got ready.
    ``restarts`` counts how often systemd has restarted the service by itself.
    """

    memory_bytes: int | None = None
    peak_bytes: int | None = None
    active_since_s: float | None = None
    restarts: int = 0


class Supervisor(Protocol):
    """Starts and stops releases.

    All methods end within a time limit. They raise :class:`SupervisorError`.
    """

    def states(self, releases: Collection[str]) -> Mapping[str, UnitState]:
        """Return the states of these releases and of all others that are loaded."""

    def usage(self, releases: Collection[str]) -> Mapping[str, Usage]:
        """Return the memory and the restarts of these releases."""

    def schedule_gc(self, release: str, after_s: float) -> None:
        """Run ``mms gc`` in ``after_s`` seconds, at the end of a release's time as warm."""

    def configure(self, contents: Mapping[str, str]) -> None:
        """Write the drop-ins of releases; ``contents`` has the text of each release id."""

    def configured(self) -> set[str]:
        """Return the releases that have a drop-in."""

    def forget(self, release: str) -> None:
        """Remove the drop-in of a removed release."""

    def unload_ended(self) -> None:
        """Let the supervisor unload the units of ended releases, if they are many."""

    def open_socket(self, release: str) -> None:
        """Start the release's socket."""

    def start(self, release: str, timeout_s: float) -> None:
        """Start the release's service with low CPU priority; return when it is ready."""

    def restore_cpu_weight(self, release: str) -> None:
        """Give a release that was started its normal CPU weight."""

    def start_soon(self, release: str) -> None:
        """Request the start of socket and service, and do not wait for it."""

    def restart(self, release: str, timeout_s: float) -> None:
        """Restart the release's service; return when it is ready."""

    def stop(self, release: str, timeout_s: float) -> None:
        """Stop the service after its last request, then close the socket."""

    def enable(self, release: str) -> None:
        """Let the release start at boot."""

    def disable(self, release: str) -> None:
        """Let the release not start at boot."""

    def journal(self, release: str) -> str:
        """Return the last log lines of the release; it raises nothing."""
