"""Jinja filters of the role mms_fleet: the roll-out decisions of ``mms_server.fleet.rollout``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ansible.errors import AnsibleFilterError


def _with_ansible_errors(act: Callable[[], Any]) -> Any:
    """Call ``act``; raise its MMSError as an AnsibleFilterError."""
    # Imported here: Ansible loads every filter, also where the project is not installed.
    from mms_server.core.errors import MMSError  # noqa: PLC0415

    try:
        return act()
    except MMSError as error:
        raise AnsibleFilterError(str(error)) from error


def identity_of_this_run(_value: object) -> dict[str, str]:
    """Return the identity of this Ansible run; the input value is ignored."""
    from mms_server.fleet.rollout import run_identity  # noqa: PLC0415 - see above

    return asdict(run_identity.this_run())


def run_is_gone(lease: Mapping[str, str] | None) -> bool:
    """Return whether the run that holds the lease has ended without releasing it."""
    from mms_server.fleet.rollout import run_identity  # noqa: PLC0415 - see above

    return lease is not None and run_identity.is_gone(lease["controller"], lease["process"])


def batches(
    hosts: Sequence[str],
    serial: Any,
    canaries: Sequence[str],
    soaks: int,
    passing: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Return the batches of hosts, in the order in which they are updated.

    The first ``soaks`` batches are watched. Hosts in ``passing`` come last.
    """
    from mms_server.fleet.rollout import rollout_batches  # noqa: PLC0415 - see above

    # `-e mms_serial=1,25%` gives a string, `-e mms_serial=50` a number.
    sizes = serial if isinstance(serial, list) else str(serial).split(",")
    plan = _with_ansible_errors(
        lambda: rollout_batches.plan(list(hosts), sizes, list(canaries), int(soaks), list(passing))
    )
    return [{**asdict(step), "hosts": list(step.hosts)} for step in plan]


def batch_failure(step: Mapping[str, Any], outcomes: Mapping[str, Mapping[str, Any]]) -> str:
    """Return why the roll-out stops after this batch, or an empty string."""
    from mms_server.fleet.rollout import rollout_batches  # noqa: PLC0415 - see above

    batch = rollout_batches.Step(step["number"], step["of"], tuple(step["hosts"]), step["soaks"])
    errors = {host: str(row.get("error") or "") for host, row in outcomes.items() if row}
    return rollout_batches.failure(batch, errors)


def gate_verdict(
    canaries: Sequence[str],
    snapshots: Mapping[str, Mapping[str, Mapping[str, Any]]],
    thresholds: Mapping[str, Any],
    suspects: Sequence[str] = (),
) -> dict[str, list[str]]:
    """Return the gate's verdict on the canaries: ``reasons`` to stop, ``figures``, ``suspects``.

    ``snapshots`` has the keys `past`, `start`, `last` and `now`; each maps a host to its metrics
    and status. ``suspects`` are those of the previous verdict.
    """
    from mms_server.fleet.rollout import canary_analysis  # noqa: PLC0415 - see above

    def read(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        return {
            host: canary_analysis.Snapshot(str(row["metrics"]), row["status"])
            for host, row in rows.items()
            if row and row.get("metrics")
        }

    window = canary_analysis.Window(**{name: read(rows) for name, rows in snapshots.items()})
    typed = {
        name: type(getattr(canary_analysis.Thresholds, name))(each)
        for name, each in thresholds.items()
    }
    limits = canary_analysis.Thresholds(**typed)
    verdict = _with_ansible_errors(
        lambda: canary_analysis.judge(window, canaries, limits, suspects)
    )
    return {name: list(rows) for name, rows in asdict(verdict).items()}


def host_publication(
    outcome: Mapping[str, Any] | None, cause: str, published: Mapping[str, Any], restored: Any
) -> int:
    """Return the number of the publication that a host serves after the run, 0 for none."""
    from mms_server.fleet.rollout import summary as summaries  # noqa: PLC0415 - see above

    return summaries.brought_to(outcome or {}, cause, published.get("number"), restored)


def run_summary(
    outcomes: Mapping[str, Mapping[str, Any]],
    hosts: Sequence[str],
    cause: str,
    number: Any,
    restored: Any,
) -> dict[str, Any]:
    """Return the result of a run: ``result``, ``summary``, ``lines`` and the changed hosts."""
    from mms_server.fleet.rollout import summary as summaries  # noqa: PLC0415 - see above

    known = {host: row or {} for host, row in outcomes.items()}
    return summaries.after_update(
        list(hosts), known, cause=cause, number=number or None, restored=restored or None
    )


def host_states(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the output of ``mms status`` by host name; ``rows`` are the variables of the hosts.

    A host whose variables hold a plan also gets the key ``drift``.
    """
    from mms_server.fleet.rollout import summary as summaries  # noqa: PLC0415 - see above

    found = {}
    for row in rows:
        state = summaries.answer_of(row.get("__mms_fleet_host_status"))
        plan = row.get("__mms_fleet_host_plan")
        if state and plan is not None:
            state["drift"] = summaries.drift_of(summaries.answer_of(plan))
        found[str(row["inventory_hostname"])] = state
    return found


def fleet_table(states: Mapping[str, Any], hosts: Sequence[str]) -> list[str]:
    """Return the table of the models that each host serves."""
    from mms_server.fleet.rollout import summary as summaries  # noqa: PLC0415 - see above

    return summaries.fleet_table(list(hosts), states)


def drift_report(hosts: Sequence[str], data: bool) -> Any:  # noqa: FBT001 - called by position
    """Return the drift that this run found: as data by host, or as lines of a table."""
    from mms_server.fleet.rollout import drift  # noqa: PLC0415 - see above

    render = drift.as_data if data else drift.as_lines
    return render(drift.FOUND.found(), list(hosts))


class FilterModule:
    """The class that Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "mms_run_identity": identity_of_this_run,
            "mms_run_is_gone": run_is_gone,
            "mms_batches": batches,
            "mms_batch_failure": batch_failure,
            "mms_gate_verdict": gate_verdict,
            "mms_host_publication": host_publication,
            "mms_run_summary": run_summary,
            "mms_drift_report": drift_report,
            "mms_host_states": host_states,
            "mms_fleet_table": fleet_table,
        }
