"""When a change of a host fails: serve again what was served, and say what went wrong."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from mms_server.core.errors import MMSError, ProbeError, ReleaseFailedError, SupervisorError
from mms_server.deploy import retire
from mms_server.deploy.host_context import Host
from mms_server.deploy.plan import ObservedState
from mms_server.host import generations, live_links, start_barrier, start_failure
from mms_server.host.release import model_of

_HOLD_MARGIN_S: Final = 60.0


@dataclass
class Progress:
    """How far a change is.

    ``model``, ``step`` and ``release`` are where it is, for messages. The rest is to be undone:
    releases that were ``made`` (with whether in a gap) and that were ``ended``, whether links were
    ``switched``, and the generation that was ``written`` (0 for none).
    """

    model: str = ""
    step: str = ""
    release: str = ""
    made: dict[str, bool] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    switched: bool = False
    written: int = 0


def hold(host: Host, release: str) -> None:
    """Hold a release for as long as another one may take to end."""
    settings = host.settings
    longest_s = settings.drain_timeout_s + settings.stop_timeout_s + _HOLD_MARGIN_S
    start_barrier.place(host.layout, release, host.uptime() + longest_s)


def put_back(host: Host, observed: ObservedState, wanted: Collection[str], at: Progress) -> None:
    """Serve what the newest generation wants; stop what this run started.

    ``wanted`` are the models of the change that failed. Everything is tried, whatever fails.
    """
    notes: list[str] = []
    layout, before = host.layout, observed.models
    ended = [name for name in at.ended if name in before.values()]
    if at.written:
        # It may be there although writing it raised: a boot must not start what failed.
        retire.attempt(notes, partial(generations.remove, layout, at.written))
    for release in ended:
        # Its socket takes what the others' sockets lose; it loads once they have ended.
        retire.attempt(notes, partial(hold, host, release))
        retire.attempt(notes, partial(host.supervisor.open_socket, release))
    if at.switched:
        for name in sorted(set(wanted) - before.keys()):
            retire.attempt(notes, partial(live_links.remove, layout, name))
        for name, release in before.items():
            host.report(f"model {name}: put the link back to {release}")
            retire.attempt(notes, partial(live_links.point, layout, name, release))
    for release, in_gap in at.made.items():
        # What waits in the socket of a gap's release would wait in vain: nginx sends it again.
        if at.switched and not in_gap:
            retire.attempt(notes, partial(retire.drain, host, release))
        retire.attempt(notes, partial(retire.stop, host, release))
        retire.attempt(notes, partial(start_barrier.lift, layout, release))
    for release in ended:
        retire.attempt(notes, partial(_start_again, host, release))
    for note in notes:
        host.report(f"while putting back: {note}")


def _start_again(host: Host, release: str) -> None:
    host.report(f"model {model_of(release)}: start release {release} again")
    start_barrier.lift(host.layout, release)
    host.supervisor.restart(release, host.settings.start_timeout_s)
    for model in host.models_of(release):
        host.probe(host.layout.socket(release), model, host.settings.probe_timeout_s)


def explained(host: Host, error: MMSError | OSError, at: Progress) -> ReleaseFailedError:
    """Return what an operator is told: the step, as the release itself said it if it did."""
    fix, cause, step = "correct the cause, then run `mms apply` again.", str(error), at.step
    if isinstance(error, MMSError):
        fix, cause = error.fix or fix, f"{error.where()}: {error.cause}".removeprefix(": ")
    journal = _journal(host, error, at)
    said = start_failure.find_last(journal)
    if said:
        step, cause, fix = said.step, said.cause, said.fix or fix
    cause += " The host serves what it served before."
    if journal:
        cause += f" The last lines of its journal:\n{journal}\n"
    return ReleaseFailedError(at.model, step, cause, fix=fix)


def _journal(host: Host, error: Exception, at: Progress) -> str:
    if isinstance(error, SupervisorError):
        return error.journal
    # A worker on a GPU loads after the service is said to be ready: only its journal knows.
    if isinstance(error, ProbeError) and at.release:
        return host.supervisor.journal(at.release)
    return ""
