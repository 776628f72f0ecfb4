"""The files of a release's processes that survive them, in the instance directory of the release.

The files may belong to another user after a restart, so the group can write all of them. Nothing
here relies on the umask: a model's code may have changed it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mms_server.core.errors import MMSError

MAX_BODY_BYTES: Final = 8 * 1024 * 1024
"""The largest body of a request that is kept for replay."""

# Without the set-group-ID bit, which units may not set: the processes have the right group anyway.
_DIRECTORY_MODE: Final = 0o770


@dataclass(frozen=True)
class InstanceFiles:
    """The files and directories in the instance directory of one release."""

    directory: Path

    @property
    def deaths(self) -> Path:
        """The records of crashes that root has not collected yet."""
        return self.directory / "deaths"

    @property
    def suspects(self) -> Path:
        """The bodies of requests that a process died in, until their retry ends."""
        return self.directory / "suspects"

    @property
    def answered(self) -> Path:
        """The digests of suspects whose retry was answered: they do not kill a worker."""
        return self.directory / "answered"

    @property
    def stacks(self) -> Path:
        """The stacks that faulthandler wrote, one file per process."""
        return self.directory / "stacks"

    @property
    def in_flight(self) -> Path:
        """The request of each worker: see :mod:`mms_server.crashes.in_flight_log`."""
        return self.directory / "flights"

    @property
    def worker_load(self) -> Path:
        """The number of requests of each worker: see :mod:`mms_server.overload.worker_load`."""
        return self.directory / "hands"

    @property
    def queue(self) -> Path:
        """The queue delay of the newest request: see :mod:`mms_server.overload.queue_delay`."""
        return self.directory / "queue"

    @property
    def conversion(self) -> Path:
        """A converted network for the store: see :mod:`mms_server.deploy.converted_networks`."""
        return self.directory / "conversion"

    @property
    def batching(self) -> Path:
        """The result of the batch benchmark: see :mod:`..inference.batching.batch_benchmark`."""
        return self.directory / "batching.json"

    @property
    def recent(self) -> Path:
        """The last crashes and quarantined inputs: see :mod:`mms_server.crashes.crash_history`."""
        return self.directory / "recent.json"

    @property
    def starts(self) -> Path:
        """The results of the master's last starts: see :mod:`mms_server.crashes.start_history`."""
        return self.directory / "starts.json"

    @property
    def replacing(self) -> Path:
        """The lock of the worker that is being replaced because of its memory."""
        return self.directory / "replacing.lock"

    def stack(self, name: str) -> Path:
        """Return the file for the stacks of a process: ``master``, or a worker's slot."""
        return self.stacks / f"{name}.txt"

    def prepare(self) -> None:
        """Create the missing directories.

        Raises:
            MMSError: a directory cannot be created.
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
