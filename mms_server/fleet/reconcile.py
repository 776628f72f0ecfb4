"""Self-healing: a host that missed a change of the fleet switches to the approved publication."""

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
    """The files on the share are not those of the approved publication."""

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
    """The publication to switch to, None to do nothing, and the reason as text."""

    number: int | None
    why: str


def judge(share: Share, layout: Layout, now: datetime) -> ReconcileDecision:
    """Decide whether this host has to switch; read the share, change nothing.

    A host switches once per approval: later changes of an operator stay.

    Raises:
        MixedShareError: the files on the share are not those of the approved publication.
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
    return ReconcileDecision(approved, f"This host switches to publication {approved}.")


def marked(layout: Layout) -> int | None:
    """Return the publication that this host last switched to, None if it is not known."""
    try:
        text = layout.publication.read_text("utf-8").strip()
    except FileNotFoundError:
        return None
    return int(text) if text.isdecimal() else None


def mark(layout: Layout, number: int) -> bool:
    """Record that this host has switched to a publication; return whether that is a change."""
    if marked(layout) == number:
        return False
    write_atomically(layout.publication, f"{number}\n")
    return True


def hold_of(share: Share) -> str | None:
    """Return the reason for which the fleet is held, None if it is not held."""

    def act() -> str:
        with share.hold.open("rb") as stream:
            return stream.read(_HOLD_BYTES).decode("utf-8", "replace").strip()

    try:
        return with_io_timeout(act, share.hold) or "no reason is given."
    except FileNotFoundError:
        return None


def hold(share: Share, reason: str) -> None:
    """Keep hosts from changing by themselves until :func:`resume`."""
    write_atomically(share.hold, reason.strip() + "\n")


def resume(share: Share) -> bool:
    """Let hosts change by themselves again; return whether the fleet was held."""
    was = hold_of(share) is not None
    share.hold.unlink(missing_ok=True)
    return was
