"""A host comes by itself to what the fleet serves, if it was away when the fleet was changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mms_server.core.errors import MMSError
from mms_server.core.files import write_atomically
from mms_server.core.io_timeout import with_io_timeout
from mms_server.core.paths import Layout
from mms_server.fleet import lease, publication
from mms_server.fleet.shared_paths import Share

_HOLD_BYTES = 1000


class MixedShareError(MMSError):
    """What lies on the share is not what the fleet was approved to serve."""

    exit_code = 3

    def __init__(self, number: int, places: list[str]) -> None:
        self.number = number
        self.places = tuple(places)
        super().__init__(
            f"{', '.join(places)} on the share: not what publication {number} says.",
            fix="publish what is wanted with playbooks/update_models.yml.",
        )


@dataclass(frozen=True)
class ReconcileDecision:
    """``number`` is the publication to come to, None to do nothing; ``why`` says it in words."""

    number: int | None
    why: str


def judge(share: Share, layout: Layout, now: datetime) -> ReconcileDecision:
    """Return whether this host has to change; looks at the share, changes nothing.

    A host changes once per approval: what an operator does to it afterwards stays.

    Raises:
        MixedShareError: the files of the share are not those that were approved.
        SilentFileSystemError: the share does not answer.
    """
    approved = publication.linked(share.approved)
    if approved is None:
        return ReconcileDecision(None, "Nothing has been approved for the fleet yet.")
    if approved == marked(layout):
        return ReconcileDecision(None, f"Nothing to do: this host has been brought to {approved}.")
    held = hold_of(share)
    if held:
        return ReconcileDecision(None, f"Waits: the fleet is held: {held}")
    holder = lease.held(share, now)
    if holder:
        return ReconcileDecision(None, f"Waits: the fleet is being changed by {holder}.")
    current = publication.linked(share.current)
    if current != approved:
        why = f"Waits: publication {current} is on the share, but {approved} is approved."
        return ReconcileDecision(None, why)
    differing = publication.differences(share, publication.load(share, approved))
    if differing:
        raise MixedShareError(approved, differing)
    return ReconcileDecision(approved, f"This host comes to publication {approved}.")


def marked(layout: Layout) -> int | None:
    """Return the publication that this host was last brought to, None if it is not known."""
    try:
        text = layout.publication.read_text("utf-8").strip()
    except FileNotFoundError:
        return None
    return int(text) if text.isdecimal() else None


def mark(layout: Layout, number: int) -> bool:
    """Write down that this host was brought to a publication; return whether that is news."""
    if marked(layout) == number:
        return False
    write_atomically(layout.publication, f"{number}\n")
    return True


def hold_of(share: Share) -> str | None:
    """Return why the fleet is held, None if it is not."""

    def act() -> str:
        with share.hold.open("rb") as stream:
            return stream.read(_HOLD_BYTES).decode("utf-8", "replace").strip()

    try:
        return with_io_timeout(act, share.hold) or "no reason is given."
    except FileNotFoundError:
        return None


def hold(share: Share, reason: str) -> None:
    """Let no host change by itself until :func:`resume`."""
    write_atomically(share.hold, reason.strip() + "\n")


def resume(share: Share) -> bool:
    """Let hosts change by themselves again; return whether they were held."""
    was = hold_of(share) is not None
    share.hold.unlink(missing_ok=True)
    return was
