"""Locks that the kernel releases when their holder dies, so that stale locks cannot exist.

There are two kinds. A *lock* serializes the commands of one checkout. A *claim* on an address is
held by the process that uses the address (the supervisor of a host, or the NFS server) as long as
the process lives; it is visible to every checkout on the machine.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from testhosts.errors import BusyError
from testhosts.state import CLAIMS, State

_POLL_S = 0.1
_ATTEMPTS = 5
_NETWORK_LIMIT_S = 60.0


@dataclass(frozen=True)
class Claim:
    """The process that uses an address."""

    pid: int
    name: str
    directory: str

    def __str__(self) -> str:
        return f"{self.name} of {self.directory} (pid {self.pid})"


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def lock(file: Path, *, what: str, timeout_s: float) -> Iterator[None]:
    """Hold a lock file; raise BusyError with the holder if it is not free in time."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline = time.monotonic() + timeout_s
        while not _try(descriptor):
            if time.monotonic() > deadline:
                owner = os.pread(descriptor, 100, 0).decode(errors="replace") or "a process"
                raise BusyError(what, owner, fix="wait until it is done, then run again.")
            time.sleep(_POLL_S)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"pid {os.getpid()}".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def network(state: State) -> AbstractContextManager[None]:
    """Return the lock for commands that change the bridge, the taps and the NAT."""
    return lock(state.locks / "network", what="the network", timeout_s=_NETWORK_LIMIT_S)


def _claim_file(address: str, claims: Path) -> Path:
    return claims / f"{address}.json"


def claim(address: str, name: str, directory: Path, *, claims: Path = CLAIMS) -> int:
    """Claim an address; return the descriptor that holds the claim until all copies are closed.

    Raises:
        BusyError: a running process holds the claim.
    """
    claims.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(_claim_file(address, claims), os.O_RDWR | os.O_CREAT, 0o644)
    # `holder` (below) locks the file for an instant, which is not a claim: try again.
    for _ in range(_ATTEMPTS):
        if _try(descriptor):
            write_claim(descriptor, Claim(os.getpid(), name, str(directory)))
            return descriptor
        time.sleep(_POLL_S)
    os.close(descriptor)
    raise busy_address(address, holder(address, claims=claims))


def write_claim(descriptor: int, content: Claim) -> None:
    """Write the holder into the claim file."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(asdict(content)).encode(), 0)


def holder(address: str, *, claims: Path = CLAIMS) -> Claim | None:
    """Return the holder of an address, or None."""
    try:
        descriptor = os.open(_claim_file(address, claims), os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        # A shared lock conflicts only with the lock of the holder, not with other readers.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        try:
            content = json.loads(os.pread(descriptor, 10_000, 0))
            return Claim(int(content["pid"]), str(content["name"]), str(content["directory"]))
        except (ValueError, KeyError, TypeError):
            return Claim(0, "a process", "unknown directory")
    else:
        return None
    finally:
        os.close(descriptor)


def busy_address(address: str, owner: Claim | None) -> BusyError:
    """Return the error for an address that is used by another process."""
    return BusyError(
        f"address {address}",
        str(owner or "another process"),
        fix="run `python -m testhosts down` in that checkout, or give this one's inventory other "
        "addresses.",
    )


def holders(prefix: str, *, claims: Path = CLAIMS) -> dict[str, Claim]:
    """Return the held claims on addresses that start with ``prefix``, as ``10.77.0.``."""
    found: dict[str, Claim] = {}
    for file in sorted(claims.glob(f"{prefix}*.json")):
        owner = holder(file.stem, claims=claims)
        if owner is not None:
            found[file.stem] = owner
    return found
