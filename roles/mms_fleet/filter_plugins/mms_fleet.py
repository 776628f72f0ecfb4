"""Filters of the role: what is decided on the controller, as Jinja can call it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ansible.errors import AnsibleFilterError


def _decided(act: Callable[[], Any]) -> Any:
    # Imported late: Ansible loads all filters, also where the project is not installed.
    from mms_server.core.errors import MMSError  # noqa: PLC0415

    try:
        return act()
    except MMSError as error:
        raise AnsibleFilterError(str(error)) from error


def run(_value: object) -> dict[str, str]:
    """Return who this run is; the value is not looked at."""
    from mms_server.fleet.rollout import run_identity  # noqa: PLC0415 - see above

    return asdict(run_identity.this_run())


def run_is_gone(lease: Mapping[str, str] | None) -> bool:
    """Return whether the run that holds a lease has ended without giving it back."""
    from mms_server.fleet.rollout import run_identity  # noqa: PLC0415 - see above

    return lease is not None and run_identity.is_gone(lease["controller"], lease["process"])


def steps(
    hosts: Sequence[str],
    serial: Any,
    canaries: Sequence[str],
    soaks: int,
    passing: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Return the steps that a change goes in."""
    from mms_server.fleet.rollout import rollout_batches  # noqa: PLC0415 - see above

    # `-e mms_serial=1,25%` is a text, 50 a number.
    sizes = serial if isinstance(serial, list) else str(serial).split(",")
    plan = _decided(
        lambda: rollout_batches.plan(list(hosts), sizes, list(canaries), int(soaks), list(passing))
    )
    return [{**asdict(step), "hosts": list(step.hosts)} for step in plan]


def step_failure(step: Mapping[str, Any], outcomes: Mapping[str, Mapping[str, Any]]) -> str:
    """Return why the steps end after this one, or an empty string."""
    from mms_server.fleet.rollout import rollout_batches  # noqa: PLC0415 - see above

    judged = rollout_batches.Step(step["number"], step["of"], tuple(step["hosts"]), step["soaks"])
    errors = {host: str(row.get("error") or "") for host, row in outcomes.items() if row}
    return rollout_batches.failure(judged, errors)


def gate(
    canaries: Sequence[str],
    looks: Mapping[str, Mapping[str, Mapping[str, Any]]],
    limits: Mapping[str, Any],
    suspects: Sequence[str] = (),
) -> dict[str, list[str]]:
    """Return the verdict on the canaries: ``reasons`` not to go on, ``figures`` and ``suspects``.

    ``looks`` has `past`, `start`, `last` and `now`, each host -> metrics and status; ``suspects``
    are those of the verdict before.
    """
    from mms_server.fleet.rollout import canary_analysis  # noqa: PLC0415 - see above

    def read(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        return {
            host: canary_analysis.Snapshot(str(row["metrics"]), row["status"])
            for host, row in rows.items()
            if row and row.get("metrics")
        }

    window = canary_analysis.Window(**{name: read(rows) for name, rows in looks.items()})
    typed = {
        name: type(getattr(canary_analysis.Thresholds, name))(each) for name, each in limits.items()
    }
    allowed = canary_analysis.Thresholds(**typed)
    verdict = _decided(lambda: canary_analysis.judge(window, canaries, allowed, suspects))
    return {name: list(rows) for name, rows in asdict(verdict).items()}


def brought_to(
    outcome: Mapping[str, Any] | None, cause: str, published: Mapping[str, Any], restored: Any
) -> int:
    """Return the publication that a host was brought to by a run, 0 if to none."""
    from mms_server.fleet.rollout import summary as summaries  # noqa: PLC0415 - see above

    return summaries.brought_to(outcome or {}, cause, published.get("number"), restored)


def summary(
    outcomes: Mapping[str, Mapping[str, Any]],
    hosts: Sequence[str],
    cause: str,
    number: Any,
    restored: Any,
) -> dict[str, Any]:
    """Return the result of a run in words."""
    from mms_server.fleet.rollout import summary as summaries  # noqa: PLC0415 - see above

    known = {host: row or {} for host, row in outcomes.items()}
    return summaries.after_update(
        list(hosts), known, cause=cause, number=number or None, restored=restored or None
    )


def states(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what hosts said of themselves, by their names; `rows` are their variables."""
    from mms_server.fleet.rollout import summary as summaries  # noqa: PLC0415 - see above

    found = {}
    for row in rows:
        state = summaries.answer_of(row.get("__mms_fleet_now"))
        plan = row.get("__mms_fleet_plan")
        if state and plan is not None:
            state["drift"] = summaries.drift_of(wording.answer_of(plan))
        found[str(row["inventory_hostname"])] = state
    return found


def table(states: Mapping[str, Any], hosts: Sequence[str]) -> list[str]:
    """Return the table of what each host serves."""
    from mms_server.fleet.rollout import summary as summaries  # noqa: PLC0415 - see above

    return summaries.fleet_table(list(hosts), states)


def drift(hosts: Sequence[str], data: bool) -> Any:  # noqa: FBT001 - filters have no keywords
    """Return what this run found, as data by host or as lines."""
    from mms_server.fleet.rollout import drift as collected  # noqa: PLC0415 - see above

    found = collected.FOUND.found()
    words = collected.as_data if data else collected.as_lines
    return words(found, list(hosts))


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by their names."""
        return {
            "mms_run": run,
            "mms_run_is_gone": run_is_gone,
            "mms_steps": steps,
            "mms_step_failure": step_failure,
            "mms_gate": gate,
            "mms_brought_to": brought_to,
            "mms_summary": summary,
            "mms_drift": drift,
            "mms_states": states,
            "mms_table": table,
        }
