"""The end of a release that is replaced: drained, kept warm for a while, stopped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mms_server.core.errors import MMSError
from mms_server.deploy.host_context import Host
from mms_server.host import generations, live_links, warm_standby
from mms_server.host.release import model_of

# The timer must not come before the time that it is for.
_MARGIN_S: Final = 1.0


def drain(host: Host, release: str) -> None:
    """Return when everything that was queued at a release's socket has been taken.

    Raises:
        ProbeError: that was not so in time.
    """
    host.report(f"model {model_of(release)}: drain release {release}")
    # Its models share the queue: what one is asked comes after all that was queued.
    model = host.models_of(release)[0]
    host.probe(host.layout.socket(release), model, host.settings.drain_timeout_s)


def stop(host: Host, release: str) -> None:
    """Stop a release after its last request.

    Raises:
        SupervisorError: it cannot be stopped.
    """
    host.report(f"model {model_of(release)}: stop release {release}")
    host.supervisor.stop(release, host.settings.stop_timeout_s)
    warm_standby.forget(host.layout, release)


def keep(host: Host, release: str, seconds: int) -> None:
    """Let a release that has been drained stay loaded for so many seconds.

    Raises:
        SupervisorError: its end cannot be scheduled; the next change of the host will see to it.
    """
    host.report(f"model {model_of(release)}: keep release {release} warm for {seconds} s")
    until_s = host.uptime() + seconds
    # In this order: what is noted as warm, and that no timer ends, would stay for ever.
    host.supervisor.schedule_gc(release, seconds + _MARGIN_S)
    warm_standby.keep(host.layout, release, until_s)


def overdue(host: Host) -> list[str]:
    """Return the releases that were kept warm and whose time is over.

    Raises:
        MMSError: the newest generation cannot be read.
    """
    generation = generations.newest(host.layout)
    # A link may point at one already that the generation does not name yet.
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
    """End what is overdue; return the releases. Call it under the host's lock.

    Raises:
        MMSError: something cannot be ended.
    """
    names = overdue(host)
    for release in names:
        host.supervisor.disable(release)
        stop(host, release)
    return names


def attempt(notes: list[str], act: Callable[[], None]) -> bool:
    """Do one thing of many that should all be tried; note what failed, and return whether not."""
    try:
        act()
    except (MMSError, OSError) as error:
        notes.append(str(error))
        return False
    return True
