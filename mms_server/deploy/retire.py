"""The end of a replaced release: it is drained, kept warm for some time, and stopped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mms_server.core.errors import MMSError
from mms_server.deploy.host_context import Host
from mms_server.host import generations, live_links, warm_standby
from mms_server.host.release import model_of

# The timer must not fire before the end of the release's time as warm.
_MARGIN_S: Final = 1.0


def drain(host: Host, release: str) -> None:
    """Return when the release has accepted all connections that wait at its socket.

    Raises:
        ProbeError: it has not within ``drain_timeout_s``.
    """
    host.report(f"model {model_of(release)}: drain release {release}")
    # The models of a release share one queue, so a probe of any model is behind all that waits.
    model = host.models_of(release)[0]
    host.probe(host.layout.socket(release), model, host.settings.drain_timeout_s)


def stop(host: Host, release: str) -> None:
    """Stop a release after its last request.

    Raises:
        SupervisorError: the release cannot be stopped.
    """
    host.report(f"model {model_of(release)}: stop release {release}")
    host.supervisor.stop(release, host.settings.stop_timeout_s)
    warm_standby.forget(host.layout, release)


def keep(host: Host, release: str, seconds: int) -> None:
    """Keep a drained release loaded for ``seconds``.

    Raises:
        SupervisorError: its end cannot be scheduled; the next change of the host ends the release.
    """
    host.report(f"model {model_of(release)}: keep release {release} warm for {seconds} s")
    until_s = host.uptime() + seconds
    # In this order: a release that is recorded as warm without a timer would stay for ever.
    host.supervisor.schedule_gc(release, seconds + _MARGIN_S)
    warm_standby.keep(host.layout, release, until_s)


def find_overdue(host: Host) -> list[str]:
    """Return the warm releases whose time has ended.

    Raises:
        MMSError: the newest generation cannot be read.
    """
    generation = generations.newest(host.layout)
    # A live link may already point at a release that no generation has yet.
    used = {
        *(generation.models if generation else {}).values(),
        *live_links.read(host.layout).values(),
    }
    now = host.uptime()
    return sorted(
        name
        for name, until in warm_standby.read(host.layout).items()
        if until <= now and name not in used
    )


def end_overdue(host: Host) -> list[str]:
    """Stop the overdue warm releases and return them. The caller holds the host's lock.

    Raises:
        MMSError: a release cannot be stopped.
    """
    names = find_overdue(host)
    for release in names:
        host.supervisor.disable(release)
        stop(host, release)
    return names


def attempt(errors: list[str], step: Callable[[], None]) -> bool:
    """Run one of several steps that must all be tried; return whether it succeeded.

    The text of an error is added to ``errors``.
    """
    try:
        step()
    except (MMSError, OSError) as error:
        errors.append(str(error))
        return False
    return True
