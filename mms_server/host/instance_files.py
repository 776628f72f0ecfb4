"""Where a release's processes leave what must survive them, inside the release's own directory.

Its owner may be another user after a restart, so every file is for the group, and nothing here
relies on the umask: a model's code may have changed it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mms_server.core.errors import MMSError

MAX_BODY_BYTES: Final = 8 * 1024 * 1024
"""Largest body of a request that is kept for replay."""

# Without the set-group-id bit, which a unit may not set: the group is the processes' own.
_DIRECTORY_MODE: Final = 0o770


@dataclass(frozen=True)
class InstanceFiles:
    """The files and directories below one release's directory."""

    directory: Path

    @property
    def deaths(self) -> Path:
        """Records that root has not collected yet."""
        return self.directory / "deaths"

    @property
    def suspects(self) -> Path:
        """Bodies of requests that a process died in, while they are tried again."""
        return self.directory / "suspects"

    @property
    def answered(self) -> Path:
        """Digests of suspects that were answered after all: they do not kill."""
        return self.directory / "answered"

    @property
    def stacks(self) -> Path:
        """What faulthandler wrote, one file per process."""
        return self.directory / "stacks"

    @property
    def in_flight(self) -> Path:
        """Which request each worker computes: see :mod:`mms_server.crashes.in_flight_log`."""
        return self.directory / "flights"

    @property
    def worker_load(self) -> Path:
        """How many requests each worker has in hand: see :mod:`mms_server.overload.worker_load`."""
        return self.directory / "hands"

    @property
    def queue(self) -> Path:
        """Queue delay of the newest request: see :mod:`mms_server.overload.queue_delay`."""
        return self.directory / "queue"

    @property
    def conversion(self) -> Path:
        """A converted network to keep: see :mod:`mms_server.deploy.converted_networks`."""
        return self.directory / "conversion"

    @property
    def batching(self) -> Path:
        """Result of the batch benchmark: see :mod:`..inference.batching.batch_benchmark`."""
        return self.directory / "batching.json"

    @property
    def recent(self) -> Path:
        """Last crashes and quarantined inputs: see :mod:`mms_server.crashes.crash_history`."""
        return self.directory / "recent.json"

    @property
    def starts(self) -> Path:
        """How the last starts of the master ended: see :mod:`mms_server.crashes.start_history`."""
        return self.directory / "starts.json"

    @property
    def replacing(self) -> Path:
        """Lock of the one worker that is being replaced."""
        return self.directory / "replacing.lock"

    def stack(self, name: str) -> Path:
        """Return the file for the stack of a process: ``master``, or a worker's slot."""
        return self.stacks / f"{name}.txt"

    def prepare(self) -> None:
        """Make the directories that are missing.

        Raises:
            MMSError: they cannot be made.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            for path in (self.deaths, self.suspects, self.answered, self.stacks):
                if not path.is_dir():
                    path.mkdir()
                    path.chmod(_DIRECTORY_MODE)
        except OSError as error:
            cause = f"{self.directory} cannot be written: {error.strerror}."
            fix = "start it as a unit: mms@.socket makes the directory."
            raise MMSError(cause, fix=fix) from error
