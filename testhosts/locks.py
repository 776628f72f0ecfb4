"""Locks that the kernel frees when their holder dies: no stale lock can exist.

Two kinds: a *lock* orders commands of one checkout; a *claim* on an address is held by the process
that uses the address (a host's supervisor, the NFS server) for as long as it lives, and is seen by
every checkout on the machine.
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
    """Who uses an address."""

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
    """Hold a lock file; raises BusyError naming the holder when it is not free in time."""
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
    """Order commands that change the bridge, the taps and the NAT."""
    return lock(state.locks / "network", what="the network", timeout_s=_NETWORK_LIMIT_S)


def _claim_file(address: str, claims: Path) -> Path:
    return claims / f"{address}.json"


def claim(address: str, name: str, directory: Path, *, claims: Path = CLAIMS) -> int:
    """Claim an address; return the descriptor that holds the claim until it is closed everywhere.

    Raises:
        BusyError: a living process holds it.
    """
    claims.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(_claim_file(address, claims), os.O_RDWR | os.O_CREAT, 0o644)
    # Someone who asks (holder, below) holds the file for an instant: that is no claim.
    for _ in range(_ATTEMPTS):
        if _try(descriptor):
            write_claim(descriptor, Claim(os.getpid(), name, str(directory)))
            return descriptor
        time.sleep(_POLL_S)
    os.close(descriptor)
    raise refusal(address, holder(address, claims=claims))


def write_claim(descriptor: int, content: Claim) -> None:
    """Say who holds a claim."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(asdict(content)).encode(), 0)


def holder(address: str, *, claims: Path = CLAIMS) -> Claim | None:
    """Return who holds an address now, or None."""
    try:
        descriptor = os.open(_claim_file(address, claims), os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        # A shared lock fails only against the holder's, so that two who ask do not see each other.
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


def refusal(address: str, owner: Claim | None) -> BusyError:
    """Return the error for an address that someone else uses."""
    return BusyError(
        f"address {address}",
        str(owner or "another process"),
        fix="run `python -m testhosts down` in that checkout, or give this one's inventory other "
        "addresses.",
    )


def holders(prefix: str, *, claims: Path = CLAIMS) -> dict[str, Claim]:
    """Return the living claims on addresses that start with ``prefix`` (as ``10.77.0.``)."""
    found: dict[str, Claim] = {}
    for file in sorted(claims.glob(f"{prefix}*.json")):
        owner = holder(file.stem, claims=claims)
        if owner is not None:
            found[file.stem] = owner
    return found
