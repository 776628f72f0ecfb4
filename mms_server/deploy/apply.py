"""Apply and rollback: change a host to ``mms.conf`` or to an earlier generation, all or nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from mms_server.config.mms_conf import read
from mms_server.core.errors import MMSError
from mms_server.deploy import retire
from mms_server.deploy.change_report import Outcome, make_outcome
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
        MMSError: as for :func:`apply`, for errors before a release is started. Lack of memory is
            not raised: it is the outcome's ``refusal``.
    """
    return _make_plan(host, _resolve(host, conf, take=False), allow_gap=allow_gap)


def apply(host: Host, conf: Path, *, allow_gap: bool = False) -> Outcome:
    """Change the host so that it serves ``conf``.

    With ``allow_gap`` (or the host's setting), a release that does not fit into memory beside the
    release that it replaces is started after the end of that one.

    Raises:
        LockHeldError: another process is changing the host.
        ConfError: the file or an archive is invalid; nothing was changed.
        FetchError: a remote archive could not be downloaded; nothing was changed.
        NoRoomError: there is too little memory; nothing was changed.
        ReleaseFailedError: a step failed; the host serves what it served before.
        SupervisorError: systemctl fails.
    """
    wanted = partial(_resolve, host, conf, take=True)
    return _change(host, f"mms apply --conf {conf}", wanted, allow_gap=allow_gap)


def prefetch(host: Host, conf: Path) -> Mapping[str, str]:
    """Put the archives of ``conf`` into the store; return the SHA-256 of each model's archive.

    Nothing else changes. The archives stay in the store until the next change or `mms gc`.

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
        MMSError: as for :func:`rollback`, for errors before a release is started.
    """
    outcome = _make_plan(host, _generation_state(host, to), allow_gap=allow_gap)
    return replace(outcome, command=_rollback_command(to))


def rollback(host: Host, to: int | None, *, allow_gap: bool = False) -> Outcome:
    """Change the host so that it serves generation ``to``; None: the one before the newest.

    All that it reads is on the host's own disk.

    Raises:
        MMSError: there is no such generation, or its files are missing.
        LockHeldError, NoRoomError, ReleaseFailedError, SupervisorError: as for :func:`apply`.
    """
    wanted = partial(_generation_state, host, to)
    return _change(host, _rollback_command(to), wanted, allow_gap=allow_gap)


def _rollback_command(to: int | None) -> str:
    return "mms rollback" if to is None else f"mms rollback --to {to}"


def _make_plan(host: Host, wanted: DesiredState, *, allow_gap: bool) -> Outcome:
    observed = host.observe(wanted.ids())
    decided = decide(wanted, observed, host.settings.keep_warm_s)
    allowed = allow_gap or host.settings.allow_gap
    return make_outcome(host, wanted, observed, decided, allow_gap=allowed)


def _change(
    host: Host, command: str, resolve_wanted: Callable[[], DesiredState], *, allow_gap: bool
) -> Outcome:
    allowed = allow_gap or host.settings.allow_gap
    with locked(host.layout, command, host.now(), report=host.report):
        try:
            wanted = resolve_wanted()
            observed = host.observe(wanted.ids())
            decided = decide(wanted, observed, host.settings.keep_warm_s)
            outcome = make_outcome(host, wanted, observed, decided, allow_gap=allowed)
            _require_memory(outcome)
            if outcome.forecast:
                done = Transaction(host, wanted, observed, decided, outcome.forecast).run()
                warnings = outcome.warnings + done.warnings
                outcome = replace(
                    outcome, generation=done.generation, warnings=warnings, gap_s=done.gap_s
                )
        except (Exception, KeyboardInterrupt):
            for warning in _clean_up(host):
                host.report(warning)
            raise
        return replace(outcome, warnings=outcome.warnings + _clean_up(host))


def _require_memory(outcome: Outcome) -> None:
    if outcome.refusal:
        raise outcome.refusal


def _resolve(host: Host, conf: Path, *, take: bool) -> DesiredState:
    log_root = host.layout.log
    return resolve(
        read(conf), host.settings, host.archives, host.report, log_root=log_root, take=take
    )


def _generation_state(host: Host, to: int | None) -> DesiredState:
    """Return the desired state of a generation, from this host's disk."""
    numbers = generations.numbers(host.layout)
    number = to if to is not None else next(iter(numbers[1:]), None)
    if number is None or number not in numbers:
        cause = (
            "there is no earlier generation" if number is None else f"generation {number} is gone"
        )
        known = ", ".join(map(str, numbers))
        fix = f"use --to with one of {known}." if numbers else "run `mms apply`."
        raise MMSError(f"{cause}.", fix=fix)
    generation = generations.load(host.layout, number)
    releases = {
        model: _stored_release(host, generation, name) for model, name in generation.models.items()
    }
    return DesiredState(
        Path(generation.conf),
        releases,
        generation.host,
        generation.port,
        metrics_write_to=generation.metrics_write_to,
        contents={
            model: host.store.content(release.parts[model].archive_sha256)
            for model, release in releases.items()
        },
        keep_warm_s=generation.keep_warm_s,
        restores=number,
    )


def _stored_release(host: Host, generation: Generation, name: str) -> Release:
    """Return a release of a generation, if all its files are on this host."""
    release = host.release(name)
    fix = "use another generation (`mms releases`), or `mms apply` with the archive."
    if release is None or release.id != name:
        cause = f"release {name} of generation {generation.number} cannot be read."
        raise MMSError(cause, fix=fix)
    missing = [entry for entry in release.entries if not host.store.has(entry)]
    if missing:
        cause = f"release {name}: its content {missing[0][:12]} is not in the store."
        raise MMSError(cause, fix=fix)
    if not Path(release.runtime).is_dir():
        raise MMSError(f"release {name}: its runtime {release.runtime} is not there.", fix=fix)
    return release


def _clean_up(host: Host) -> tuple[str, ...]:
    """Remove unused items; return warnings. A failure is no error: the next change tries again."""
    try:
        start_barrier.lift_all(host.layout)
        retire.end_overdue(host)
        prune(host)
    except (MMSError, OSError) as error:
        return (f"unused items remain, which the next change or `mms gc` removes: {error}",)
    return ()
