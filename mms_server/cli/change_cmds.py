"""The commands of ``mms`` that change what a host serves, and what is left of it."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any, Final

from mms_server.cli import output
from mms_server.core.errors import MMSError
from mms_server.deploy import apply as engine
from mms_server.deploy import operate, retire
from mms_server.deploy.change_report import Outcome
from mms_server.deploy.host_context import Host
from mms_server.deploy.prune import find_unused, prune
from mms_server.host.generations import readable
from mms_server.host.lock import locked
from mms_server.tuning import tune as tuning

Answer = tuple[dict[str, Any], str]
"""What a command found: for ``--json``, and in words."""

_LOCK_WAIT_S: Final = 60.0


class RefusedPlanError(MMSError):
    """A plan that apply would refuse: it is shown, and the command ends as apply would."""

    exit_code = 3

    def __init__(self, refusal: MMSError, answer: Answer) -> None:
        self.refusal = refusal
        self.answer = answer
        super().__init__(refusal.cause, fix=refusal.fix)

    def where(self) -> str:
        """Return what is refused."""
        return self.refusal.where()


def plan(host: Host, options: argparse.Namespace) -> Answer:
    """Show what apply would do, and change nothing."""
    return _shown(engine.plan(host, options.conf, allow_gap=options.allow_gap))


def apply(host: Host, options: argparse.Namespace) -> Answer:
    """Make this host serve what mms.conf says; a release that fails leaves it as it was."""
    outcome = engine.apply(host, options.conf, allow_gap=options.allow_gap)
    return output.outcome_json(outcome), output.outcome_text(outcome, done=True)


def prefetch(host: Host, options: argparse.Namespace) -> Answer:
    """Take the archives of mms.conf into the store, and change nothing that is served."""
    found = engine.prefetch(host, options.conf)
    lines = [f"{model}: {digest[:12]} is in the store" for model, digest in found.items()]
    return {"models": dict(found)}, "\n".join(lines)


def rollback(host: Host, options: argparse.Namespace) -> Answer:
    """Go back to what this host served before, from its own disk."""
    if options.check:
        return _shown(engine.plan_rollback(host, options.to, allow_gap=options.allow_gap))
    outcome = engine.rollback(host, options.to, allow_gap=options.allow_gap)
    return output.outcome_json(outcome), output.outcome_text(outcome, done=True)


def releases(host: Host, _options: argparse.Namespace) -> Answer:
    """List the generations and releases on this host, and what is kept warm."""
    kept = readable(host.layout)
    directory = host.layout.releases
    names = sorted(path.name for path in directory.iterdir()) if directory.is_dir() else []
    rows = [(name, host.release(name)) for name in names]
    warm = operate.warm_releases(host.observe({})) if kept else {}
    answer = output.releases_json(kept, rows, warm)
    return answer, output.releases_text(answer)


def gc(host: Host, options: argparse.Namespace) -> Answer:
    """End what is no longer kept warm, and remove what no kept generation needs."""
    if options.check:
        ended, found = retire.overdue(host), find_unused(host)
    else:
        with locked(host.layout, "mms gc", host.now(), wait_s=_LOCK_WAIT_S):
            ended, found = retire.end_overdue(host), prune(host)
    answer = {"changed": bool(ended or found), "ended": ended, **asdict(found)}
    return answer, output.gc_text(ended, found, done=not options.check)


def tune(host: Host, options: argparse.Namespace) -> Answer:
    """Measure a model with several settings, and write the best into mms.conf."""
    file = None if options.check else options.conf
    tuned = tuning.tune(host, options.model, options.p99, file)
    answer = {**asdict(tuned), "changed": tuned.changed and bool(tuned.written)}
    return answer, output.tuned_text(tuned)


def _shown(outcome: Outcome) -> Answer:
    answer = output.outcome_json(outcome), output.outcome_text(outcome, done=False)
    if outcome.refusal:
        raise RefusedPlanError(outcome.refusal, answer)
    return answer
