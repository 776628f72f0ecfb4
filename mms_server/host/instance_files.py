"""Where a release's processes leave what must survive them, inside the release's own directory.

Its owner may be another user after a restart, so every file is for the group, and nothing here
relies on the umask: a model's code may have changed it.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mms_server.core.errors import MMSError

MAX_BODY_BYTES: Final = 8 * 1024 * 1024
"""Largest body of a request that is kept for replay."""

# Without the set-group-id bit, which a unit may not set: the group is the processes' own.
_DIRECTORY_MODE: Final = 0o770
_FILE_MODE: Final = 0o660


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


def open_shared(path: Path, flags: int) -> int:
    """Return a descriptor of a file for the group, made if it is missing.

    Raises:
        OSError: it cannot be opened, or is a symbolic link.
    """
    flags |= os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, _FILE_MODE)
    except FileExistsError:
        return os.open(path, flags, _FILE_MODE)
    os.fchmod(descriptor, _FILE_MODE)
    return descriptor


def write_whole(path: Path, data: bytes) -> None:
    """Write a file for the group so that readers see the old content or the new.

    It need not outlive a power cut: the directory does not either.

    Raises:
        OSError: it cannot be written.
    """
    # Beside the directory of records, never in it: what is there is taken for whole.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = open_shared(temporary, os.O_WRONLY)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def read_bounded(path: Path, limit: int, start: int = 0) -> bytes:
    """Return up to ``limit`` bytes of a regular file; b"" if it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.pread(descriptor, limit, start)
    except OSError:
        return b""
    finally:
        os.close(descriptor)
