"""The revert of a failed change: the host serves the releases from before, and the error's text."""

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

_BARRIER_MARGIN_S: Final = 60.0


@dataclass
class Progress:
    """The progress of a change.

    ``model``, ``step`` and ``release`` are the current ones, for messages. The others are for the
    revert: ``started`` maps new releases to whether each changes with a gap, ``ended`` are releases
    that were ended, ``switched`` is whether a link was changed, and ``generation`` is the number of
    the new generation (0 before it is written).
    """

    model: str = ""
    step: str = ""
    release: str = ""
    started: dict[str, bool] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    switched: bool = False
    generation: int = 0


def place_barrier(host: Host, release: str) -> None:
    """Place a release's start barrier for the longest time that the end of another may take."""
    settings = host.settings
    longest_s = settings.drain_timeout_s + settings.stop_timeout_s + _BARRIER_MARGIN_S
    start_barrier.place(host.layout, release, host.uptime() + longest_s)


def revert(
    host: Host, observed: ObservedState, wanted: Collection[str], progress: Progress
) -> None:
    """Serve the releases of the newest generation again; stop those that this change started.

    ``wanted`` are the models of the failed change. Every step is tried, also after an error.
    """
    errors: list[str] = []
    layout, before = host.layout, observed.models
    ended = [name for name in progress.ended if name in before.values()]
    if progress.generation:
        # The file may exist although writing it raised: a boot must not start the failed releases.
        retire.attempt(errors, partial(generations.remove, layout, progress.generation))
    for release in ended:
        # Its socket accepts requests before the new sockets close; it loads after their end.
        retire.attempt(errors, partial(place_barrier, host, release))
        retire.attempt(errors, partial(host.supervisor.open_socket, release))
    if progress.switched:
        for name in sorted(set(wanted) - before.keys()):
            retire.attempt(errors, partial(live_links.remove, layout, name))
        for name, release in before.items():
            host.report(f"model {name}: restore the link to {release}")
            retire.attempt(errors, partial(live_links.point, layout, name, release))
    for release, in_gap in progress.started.items():
        # A release in a gap is not ready: it answers no request that waits at its socket, and
        # nginx retries those requests.
        if progress.switched and not in_gap:
            retire.attempt(errors, partial(retire.drain, host, release))
        retire.attempt(errors, partial(retire.stop, host, release))
        retire.attempt(errors, partial(start_barrier.lift, layout, release))
    for release in ended:
        retire.attempt(errors, partial(_restart, host, release))
    for error in errors:
        host.report(f"error in the revert: {error}")


def _restart(host: Host, release: str) -> None:
    host.report(f"model {model_of(release)}: start release {release} again")
    start_barrier.lift(host.layout, release)
    host.supervisor.restart(release, host.settings.start_timeout_s)
    for model in host.models_of(release):
        host.probe(host.layout.socket(release), model, host.settings.probe_timeout_s)


def make_error(host: Host, error: MMSError | OSError, progress: Progress) -> ReleaseFailedError:
    """Return the error for the operator: step, cause and fix from the release's journal if any."""
    fix, cause, step = "correct the cause, then run `mms apply` again.", str(error), progress.step
    if isinstance(error, MMSError):
        fix, cause = error.fix or fix, f"{error.where()}: {error.cause}".removeprefix(": ")
    journal = _journal(host, error, progress)
    failure = start_failure.find_last(journal)
    if failure:
        step, cause, fix = failure.step, failure.cause, failure.fix or fix
    cause += " The host serves what it served before."
    if journal:
        cause += f" The last lines of its journal:\n{journal}\n"
    return ReleaseFailedError(progress.model, step, cause, fix=fix)


def _journal(host: Host, error: Exception, progress: Progress) -> str:
    if isinstance(error, SupervisorError):
        return error.journal
    # On a GPU the workers load the model after the service is ready, so only the journal has the
    # cause.
    if isinstance(error, ProbeError) and progress.release:
        return host.supervisor.journal(progress.release)
    return ""
