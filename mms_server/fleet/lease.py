"""The lease of the fleet: one run at a time changes the fleet, and others are told which.

A run consists of many commands on several hosts, so a lock that ends with a process is not enough.
The run holds a lease, which is a file on the share, and renews it with each step. An expired lease
can be taken. A lease whose run is known to be dead can be taken too, by naming that run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Final

from mms_server.core import file_lock
from mms_server.core.errors import MMSError
from mms_server.core.files import write_atomically
from mms_server.core.io_timeout import with_io_timeout
from mms_server.fleet.shared_paths import Share

_GUARD_WAIT_S: Final = 10.0


class FleetBusyError(MMSError):
    """Another run is changing the fleet; nothing was changed."""

    exit_code = 3

    def __init__(self, holder: Lease) -> None:
        self.holder = holder
        super().__init__(
            f"the fleet is being changed by {holder}.",
            fix="wait until that run has ended. If it was killed, its lease ends at "
            f"{holder.expires_at}; a run from {holder.controller} replaces it at once.",
        )


class LeaseLostError(MMSError):
    """A run does not hold the lease."""

    exit_code = 3

    def __init__(self, run: str, holder: Lease | None) -> None:
        self.run = run
        self.holder = holder
        now = f"{holder} has it" if holder else "nobody has it"
        super().__init__(
            f"run {run} does not hold the lease of the fleet any more: {now}.",
            fix="run the playbook again; it brings all hosts to one state.",
        )


@dataclass(frozen=True)
class Lease:
    """A lease: ``run`` has a ``process`` on ``controller``; times are ISO 8601, UTC."""

    run: str
    owner: str
    controller: str
    process: str
    purpose: str
    since: str
    expires_at: str

    def __str__(self) -> str:
        """Return the holder for messages."""
        who = f"{self.owner}@{self.controller} ({self.purpose}, process {self.process}"
        return f"{who}, since {self.since})"


@dataclass(frozen=True)
class Claim:
    """A request for the lease; the fields are those of :class:`Lease`."""

    run: str
    owner: str
    controller: str
    process: str
    purpose: str


def read(share: Share) -> Lease | None:
    """Return the lease, even an expired one; None if there is none.

    Raises:
        MMSError: the file is not a lease.
        SilentFileSystemError: the share does not answer.
    """
    return with_io_timeout(lambda: _read(share), share.lease)


def held(share: Share, now: datetime) -> Lease | None:
    """Return the lease that is valid now, None if the fleet is free.

    Raises:
        MMSError: as for :func:`read`.
    """
    found = read(share)
    return found if found and not _over(found, now) else None


def take(share: Share, claim: Claim, now: datetime, valid_s: float, replaces: str = "") -> Lease:
    """Take the lease for ``valid_s`` seconds, or renew it if the run already holds it.

    Raises:
        FleetBusyError: a run other than ``replaces`` holds the lease.
        MMSError: as for :func:`read`, or another process has locked the lease for too long.
    """

    def act() -> Lease:
        with _guarded(share):
            found = _read(share)
            if found and not _over(found, now) and found.run not in (claim.run, replaces):
                raise FleetBusyError(found)
            since = found.since if found and found.run == claim.run else _text(now)
            lease = Lease(
                **asdict(claim), since=since, expires_at=_text(now + timedelta(seconds=valid_s))
            )
            return _write(share, lease)

    return with_io_timeout(act, share.lease)


def renew(share: Share, run: str, now: datetime, valid_s: float) -> Lease:
    """Let the lease of a run expire ``valid_s`` seconds from now.

    An expired lease that no other run has taken is renewed too.

    Raises:
        LeaseLostError: another run holds the lease, or none does.
        MMSError: as for :func:`take`.
    """

    def act() -> Lease:
        with _guarded(share):
            found = _read(share)
            if not found or found.run != run:
                raise LeaseLostError(run, found)
            end = _text(now + timedelta(seconds=valid_s))
            return _write(share, Lease(**{**asdict(found), "expires_at": end}))

    return with_io_timeout(act, share.lease)


def give_back(share: Share, run: str) -> None:
    """Remove the lease if this run holds it.

    Raises:
        MMSError: as for :func:`take`.
    """

    def act() -> None:
        with _guarded(share):
            found = _read(share)
            if found and found.run == run:
                share.lease.unlink()

    with_io_timeout(act, share.lease)


def _over(lease: Lease, now: datetime) -> bool:
    return datetime.fromisoformat(lease.expires_at) <= now


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


def _read(share: Share) -> Lease | None:
    try:
        text = share.lease.read_text("utf-8")
    except FileNotFoundError:
        return None
    try:
        lease = Lease(**json.loads(text))
        datetime.fromisoformat(lease.expires_at)
    except (ValueError, TypeError) as error:
        cause = f"{share.lease} is not a lease: {error}."
        fix = "see that no playbook is running, then remove the file."
        raise MMSError(cause, fix=fix) from error
    return lease


def _write(share: Share, lease: Lease) -> Lease:
    write_atomically(share.lease, json.dumps(asdict(lease), indent=2, sort_keys=True) + "\n")
    return lease


@contextmanager
def _guarded(share: Share) -> Iterator[None]:
    """Let only one process of all hosts read and then write the lease."""
    share.guard.parent.mkdir(parents=True, exist_ok=True)
    descriptor = file_lock.open_lock_file(share.guard)
    try:
        if not file_lock.lock(descriptor, _GUARD_WAIT_S):
            cause = f"{share.guard} has been locked for {_GUARD_WAIT_S:g} s."
            raise MMSError(cause, fix="run it again.")
        yield
    finally:
        os.close(descriptor)
