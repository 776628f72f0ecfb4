"""Make a host serve what ``mms.conf`` says, all of it or nothing.

The order makes it safe to be killed anywhere. New releases get ready beside the old ones, then the
links move, then the generation is written; until then the old releases run and are what a boot
starts. Whatever a killed run left is a release that no generation wants: the next run stops it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from mms_server import generations, links, unit_file
from mms_server.conf import read
from mms_server.errors import MMSError, ReleaseFailedError, SupervisorError
from mms_server.generations import Generation
from mms_server.host import Host
from mms_server.host_lock import locked
from mms_server.plan import ModelAction, Observed, Plan, as_text, decide
from mms_server.release import Release, write_atomically
from mms_server.tidy import tidy
from mms_server.wanted import Wanted, resolve


@dataclass(frozen=True)
class Outcome:
    """What was done, or would be; ``before`` and ``after`` are texts for a diff."""

    changed: bool
    generation: int | None
    actions: tuple[ModelAction, ...]
    leftovers: tuple[str, ...]
    before: str
    after: str
    warnings: tuple[str, ...] = ()


def plan(host: Host, conf: Path) -> Outcome:
    """Return what :func:`apply` would do, and change nothing.

    Raises:
        MMSError: as for :func:`apply`, for what is wrong before anything is started.
    """
    wanted = _resolve(host, conf, take=False)
    observed = host.observe(wanted.ids())
    return _outcome(host, wanted, observed, decide(wanted, observed))


def apply(host: Host, conf: Path) -> Outcome:
    """Make the host serve what ``conf`` says.

    Raises:
        LockHeldError: another process is changing the host.
        ConfError: the file or an archive is wrong; nothing was touched.
        FetchError: a remote archive could not be fetched; nothing was touched.
        ReleaseFailedError: a step failed; the host serves what it served.
        SupervisorError: systemd cannot be asked.
    """
    with locked(host.layout, f"mms apply --conf {conf}", host.now()):
        try:
            wanted = _resolve(host, conf, take=True)
            observed = host.observe(wanted.ids())
            decided = decide(wanted, observed)
            outcome = _outcome(host, wanted, observed, decided)
            if decided.changed:
                outcome = _Transaction(host, wanted, observed, decided).run(outcome)
        except (Exception, KeyboardInterrupt):
            _tidy_after_failure(host)
            raise
        return replace(outcome, warnings=outcome.warnings + _tidied(host))


def _resolve(host: Host, conf: Path, *, take: bool) -> Wanted:
    log_root = host.layout.log
    return resolve(
        read(conf), host.settings, host.archives, host.report, log_root=log_root, take=take
    )


def _tidied(host: Host) -> tuple[str, ...]:
    """Clean up; what cannot be removed now is removed next time, so it is no failure."""
    try:
        tidy(host)
    except (MMSError, OSError) as error:
        return (f"not all that is no longer needed could be removed: {error}",)
    return ()


def _tidy_after_failure(host: Host) -> None:
    for text in _tidied(host):
        host.report(text)


class _Transaction:
    """One change of one host; ``_model`` and ``_step`` are where it is, for messages."""

    def __init__(self, host: Host, wanted: Wanted, observed: Observed, plan: Plan) -> None:
        self._host = host
        self._wanted = wanted
        self._observed = observed
        self._plan = plan
        self._made: list[tuple[str, str]] = []
        self._switched = False
        self._written = 0
        self._model = ""
        self._step = ""

    def run(self, outcome: Outcome) -> Outcome:
        """Carry out the plan; return the outcome with the new generation and warnings."""
        try:
            self._configure()
            for model, release in self._plan.to_start():
                self._start(model, self._wanted.releases[model], release)
            self._switch()
            number = self._commit()
        except (Exception, KeyboardInterrupt) as error:
            self._put_back()
            if isinstance(error, MMSError | OSError):
                raise self._failed(error) from error
            raise
        warnings = self._settle()
        return replace(outcome, generation=number, warnings=outcome.warnings + tuple(warnings))

    def _enter(self, model: str, step: str) -> None:
        self._model, self._step = model, step
        self._host.report(f"model {model}: {step}")

    def _configure(self) -> None:
        """Write the units' drop-ins, all at once: systemd reads its files anew only once."""
        started = [self._wanted.releases[model] for model, _release in self._plan.to_start()]
        if started:
            self._enter(", ".join(row.model for row in started), "write what the units need")
            layout = self._host.layout
            self._host.supervisor.configure(
                {row.id: unit_file.text(layout, row) for row in started}
            )

    def _start(self, model: str, release: Release, release_id: str) -> None:
        host, settings = self._host, self._host.settings
        if self._observed.models.get(model) != release_id:
            self._made.append((model, release_id))
        self._enter(model, f"write release {release_id}")
        write_atomically(host.layout.release_file(release_id), release.to_json())
        self._enter(model, "open the socket")
        host.supervisor.open_socket(release_id)
        self._enter(model, "start")
        host.supervisor.start(release_id, settings.start_timeout_s)
        self._enter(model, "ask for a first answer")
        # On a GPU the workers load the model, after the service is said to be ready.
        wait_s = settings.start_timeout_s if release.on_gpu else settings.probe_timeout_s
        host.probe(host.layout.socket(release_id), model, wait_s)

    def _switch(self) -> None:
        for model, release in self._plan.links.items():
            self._enter(model, "switch the link")
            self._switched = True
            links.point(self._host.layout, model, release)
        for model in self._plan.stale_links:
            self._enter(model, "remove the link")
            self._switched = True
            links.remove(self._host.layout, model)
        links.follow_only(self._host.layout)

    def _commit(self) -> int | None:
        current = self._observed.generation
        if not self._plan.new_generation:
            return current.number if current else None
        wanted = self._wanted
        number = current.number + 1 if current else 1
        made_at = self._host.now().isoformat(timespec="seconds")
        self._enter(", ".join(wanted.releases), f"write generation {number}")
        generation = Generation(
            number,
            made_at,
            self._host.by,
            str(wanted.conf.absolute()),
            wanted.ids(),
            wanted.host,
            wanted.port,
            wanted.metrics_write_to,
        )
        self._written = number
        generations.write(self._host.layout, generation)
        return number

    def _settle(self) -> list[str]:
        """Make it last and let the old releases end. The change is done: failures are warnings."""
        supervisor, warnings = self._host.supervisor, list[str]()
        for model, release in self._wanted.ids().items():
            if not self._observed.state(release).enabled:
                self._enter(model, "start at boot from now on")
                _try(warnings, partial(supervisor.enable, release))
        for release in self._plan.leftovers:
            state = self._observed.state(release)
            if state.enabled or state.half_enabled:
                self._enter(_model_of(release), f"release {release} no longer starts at boot")
                _try(warnings, partial(supervisor.disable, release))
            if state.up:
                self._drain(release, warnings)
            self._stop(release, warnings)
        return warnings

    def _drain(self, release: str, warnings: list[str]) -> None:
        model, timeout_s = _model_of(release), self._host.settings.drain_timeout_s
        self._enter(model, f"drain release {release}")
        socket = self._host.layout.socket(release)
        _try(warnings, partial(self._host.probe, socket, model, timeout_s))

    def _stop(self, release: str, warnings: list[str]) -> None:
        self._enter(_model_of(release), f"stop release {release}")
        timeout_s = self._host.settings.stop_timeout_s
        _try(warnings, partial(self._host.supervisor.stop, release, timeout_s))

    def _put_back(self) -> None:
        """Serve what the newest generation wants; stop what this run started."""
        model, step = self._model, self._step
        notes: list[str] = []
        layout, before = self._host.layout, self._observed.models
        if self._written:
            # It may be there although writing it raised: a boot must not start what failed.
            _try(notes, partial(generations.remove, layout, self._written))
        if self._switched:
            for name in self._wanted.ids().keys() - before.keys():
                _try(notes, partial(links.remove, layout, name))
            for name, release in before.items():
                self._enter(name, f"put the link back to {release}")
                _try(notes, partial(links.point, layout, name, release))
        for _name, release in self._made:
            if self._switched:
                self._drain(release, notes)
            self._stop(release, notes)
        for note in notes:
            self._host.report(f"while putting back: {note}")
        self._model, self._step = model, step

    def _failed(self, error: MMSError | OSError) -> ReleaseFailedError:
        fix, cause = "correct the cause, then run `mms apply` again.", str(error)
        if isinstance(error, MMSError):
            fix, cause = error.fix or fix, f"{error.where()}: {error.cause}".removeprefix(": ")
        cause += " The host serves what it served before."
        if isinstance(error, SupervisorError) and error.journal:
            cause += f" The last lines of its journal:\n{error.journal}\n"
        return ReleaseFailedError(self._model, self._step, cause, fix=fix)


def _try(notes: list[str], act: Callable[[], None]) -> None:
    """Do one thing of many that should all be tried; note what failed."""
    try:
        act()
    except (MMSError, OSError) as error:
        notes.append(str(error))


def _model_of(release: str) -> str:
    return release.rpartition(".")[0]


def _outcome(host: Host, wanted: Wanted, observed: Observed, decided: Plan) -> Outcome:
    repairs = {row.model: ", ".join(row.repairs) for row in decided.actions}
    before = {
        model: (release, host.release(release), repairs.get(model, ""))
        for model, release in observed.models.items()
    }
    after = {model: (row.id, row, "") for model, row in wanted.releases.items()}
    leftovers = "".join(
        f"leftover: {name}\n" for name in decided.leftovers if name not in observed.models.values()
    )
    return Outcome(
        changed=decided.changed,
        generation=observed.generation.number if observed.generation else None,
        actions=decided.actions,
        leftovers=decided.leftovers,
        before=as_text(before) + leftovers,
        after=as_text(after),
        warnings=wanted.warnings,
    )
