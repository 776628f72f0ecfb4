"""Make a host serve what ``mms.conf`` says, or what it served before: all of it or nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from mms_server.config.mms_conf import read
from mms_server.core.errors import MMSError
from mms_server.deploy import retire
from mms_server.deploy.change_report import Outcome, outcome_of
from mms_server.deploy.desired_state import DesiredState, resolve
from mms_server.deploy.host_context import Host
from mms_server.deploy.plan import decide
from mms_server.deploy.prune import prune
from mms_server.deploy.transaction import Transaction
from mms_server.host import generations, start_barrier
from mms_server.host.generations import Generation
from mms_server.host.lock import locked
from mms_server.host.release import Release

__all__ = ["Outcome", "apply", "plan", "plan_rollback", "prefetch", "rollback"]


def plan(host: Host, conf: Path, *, allow_gap: bool = False) -> Outcome:
    """Return what :func:`apply` would do, and change nothing.

    Raises:
        MMSError: as for :func:`apply`, for what is wrong before anything is started; what would be
            refused for want of memory is not raised, but the outcome's ``refusal``.
    """
    return _planned(host, _resolve(host, conf, take=False), allow_gap=allow_gap)


def apply(host: Host, conf: Path, *, allow_gap: bool = False) -> Outcome:
    """Make the host serve what ``conf`` says.

    With ``allow_gap`` (or the host's setting) a release that does not fit beside the one that it
    replaces is started after its end.

    Raises:
        LockHeldError: another process is changing the host.
        ConfError: the file or an archive is wrong; nothing was touched.
        FetchError: a remote archive could not be fetched; nothing was touched.
        NoRoomError: there is too little memory; nothing was touched.
        ReleaseFailedError: a step failed; the host serves what it served.
        SupervisorError: systemd cannot be asked.
    """
    wanted = partial(_resolve, host, conf, take=True)
    return _change(host, f"mms apply --conf {conf}", wanted, allow_gap=allow_gap)


def prefetch(host: Host, conf: Path) -> Mapping[str, str]:
    """Take the archives of ``conf`` into the store; return model -> SHA-256. Nothing else changes.

    They stay until the next change or `mms gc`.

    Raises:
        LockHeldError: another process is changing the host.
        ConfError, FetchError: as for :func:`apply`.
    """
    command = f"mms prefetch --conf {conf}"
    with locked(host.layout, command, host.now(), report=host.report):
        wanted = _resolve(host, conf, take=True)
    return {
        model: release.parts[model].archive_sha256 for model, release in wanted.releases.items()
    }


def plan_rollback(host: Host, to: int | None, *, allow_gap: bool = False) -> Outcome:
    """Return what :func:`rollback` would do, and change nothing.

    Raises:
        MMSError: as for :func:`rollback`, for what is wrong before anything is started.
    """
    outcome = _planned(host, _past(host, to), allow_gap=allow_gap)
    return replace(outcome, command=_rollback_command(to))


def rollback(host: Host, to: int | None, *, allow_gap: bool = False) -> Outcome:
    """Make the host serve what generation ``to`` served, by default the one before the live one.

    Nothing is read but the host's own disk.

    Raises:
        MMSError: there is no such generation, or it cannot be served any more.
        LockHeldError, NoRoomError, ReleaseFailedError, SupervisorError: as for :func:`apply`.
    """
    past = partial(_past, host, to)
    return _change(host, _rollback_command(to), past, allow_gap=allow_gap)


def _rollback_command(to: int | None) -> str:
    return "mms rollback" if to is None else f"mms rollback --to {to}"


def _planned(host: Host, wanted: DesiredState, *, allow_gap: bool) -> Outcome:
    observed = host.observe(wanted.ids())
    decided = decide(wanted, observed, host.settings.keep_warm_s)
    allowed = allow_gap or host.settings.allow_gap
    return outcome_of(host, wanted, observed, decided, allow_gap=allowed)


def _change(
    host: Host, command: str, resolve_wanted: Callable[[], DesiredState], *, allow_gap: bool
) -> Outcome:
    allowed = allow_gap or host.settings.allow_gap
    with locked(host.layout, command, host.now(), report=host.report):
        try:
            wanted = resolve_wanted()
            observed = host.observe(wanted.ids())
            decided = decide(wanted, observed, host.settings.keep_warm_s)
            outcome = outcome_of(host, wanted, observed, decided, allow_gap=allowed)
            _require_room(outcome)
            if outcome.forecast:
                done = Transaction(host, wanted, observed, decided, outcome.forecast).run()
                warnings = outcome.warnings + done.warnings
                outcome = replace(
                    outcome, generation=done.generation, warnings=warnings, gap_s=done.gap_s
                )
        except (Exception, KeyboardInterrupt):
            for text in _tidied(host):
                host.report(text)
            raise
        return replace(outcome, warnings=outcome.warnings + _tidied(host))


def _require_room(outcome: Outcome) -> None:
    if outcome.refusal:
        raise outcome.refusal


def _resolve(host: Host, conf: Path, *, take: bool) -> DesiredState:
    log_root = host.layout.log
    return resolve(
        read(conf), host.settings, host.archives, host.report, log_root=log_root, take=take
    )


def _past(host: Host, to: int | None) -> DesiredState:
    """Return what a generation served, from what is on this host's disk."""
    kept = generations.numbers(host.layout)
    number = to if to is not None else next(iter(kept[1:]), None)
    if number is None or number not in kept:
        what = (
            "there is no earlier generation" if number is None else f"generation {number} is gone"
        )
        fix = f"use --to with one of {', '.join(map(str, kept))}." if kept else "run `mms apply`."
        raise MMSError(f"{what}.", fix=fix)
    past = generations.load(host.layout, number)
    releases = {model: _kept_release(host, past, name) for model, name in past.models.items()}
    return DesiredState(
        Path(past.conf),
        releases,
        past.host,
        past.port,
        metrics_write_to=past.metrics_write_to,
        contents={
            model: host.store.content(release.parts[model].archive_sha256)
            for model, release in releases.items()
        },
        keep_warm_s=past.keep_warm_s,
        restores=number,
    )


def _kept_release(host: Host, past: Generation, name: str) -> Release:
    release = host.release(name)
    fix = "use another generation (`mms releases`), or `mms apply` with the archive."
    if release is None or release.id != name:
        raise MMSError(f"release {name} of generation {past.number} cannot be read.", fix=fix)
    missing = [entry for entry in release.entries if not host.store.has(entry)]
    if missing:
        cause = f"release {name}: its content {missing[0][:12]} is not in the store."
        raise MMSError(cause, fix=fix)
    if not Path(release.runtime).is_dir():
        raise MMSError(f"release {name}: its runtime {release.runtime} is not there.", fix=fix)
    return release


def _tidied(host: Host) -> tuple[str, ...]:
    """Clean up; what cannot be removed now is removed next time, so it is no failure."""
    try:
        start_barrier.lift_all(host.layout)
        retire.end_overdue(host)
        prune(host)
    except (MMSError, OSError) as error:
        return (f"not all that is no longer needed could be removed: {error}",)
    return ()
