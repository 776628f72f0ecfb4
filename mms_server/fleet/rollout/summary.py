"""What a run over the fleet tells people at its end, and what it writes into the journal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from mms_server.core.formatting import table
from mms_server.host.status_columns import FLEET_COLUMNS

_LONG: Final = 3


def fleet_table(hosts: Sequence[str], states: Mapping[str, Any]) -> list[str]:
    """Return the table of what each host serves, one line a model.

    ``states`` maps hosts to what ``mms status --json`` printed, with `drift` (a text) added where
    it is known; a host that is missing did not answer.
    """
    head = ("HOST", "HEALTH", "GEN", *(each.heading for each in FLEET_COLUMNS))
    drift = any("drift" in state for state in states.values())
    cells: list[tuple[str, ...]] = [(*head, "DRIFT") if drift else head]
    for host in hosts:
        state = states.get(host)
        if not state:
            cells.append(_padded((host, "unreachable"), len(cells[0])))
            continue
        health = "healthy" if state["healthy"] else "NOT HEALTHY"
        first = (host, health, str(state["generation"] or "-"))
        models = [tuple(each.cell(row) for each in FLEET_COLUMNS) for row in state["models"]]
        rows = models or [("serves nothing",)]
        for place, row in enumerate(rows):
            left = first if place == 0 else ("", "", "")
            line = _padded((*left, *row), len(head))
            cells.append((*line, state.get("drift", "?") if place == 0 else "") if drift else line)
    return table(cells).splitlines()


def answer_of(result: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the JSON that a command printed, empty if it printed none or an error."""
    try:
        found = json.loads((result or {}).get("stdout") or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) and "error" not in found else {}


def drift_of(plan: Mapping[str, Any]) -> str:
    """Return in what a host differs from the share; ``plan`` is that of ``mms plan --json``."""
    if not plan:
        return "unknown"
    names = [row["model"] for row in plan["models"] if row["action"] != "keep" or row["repairs"]]
    return ", ".join(names) or ("leftovers" if plan["changed"] else "none")


def brought_to(
    outcome: Mapping[str, Any], cause: str, number: int | None, restored: int | None
) -> int:
    """Return the publication that a host was brought to by a run, 0 if to none.

    ``number`` is the one that the run published, ``restored`` the one that it put back instead.
    """
    if outcome.get("error") and not outcome.get("put_back"):
        return 0
    if not cause:
        return number or 0
    return (restored or 0) if outcome.get("put_back") else 0


def after_update(
    hosts: Sequence[str],
    outcomes: Mapping[str, Mapping[str, Any]],
    *,
    cause: str,
    number: int | None,
    restored: int | None,
) -> dict[str, Any]:
    """Return the result of a run in words: ``result``, ``summary`` (a line) and ``lines``.

    ``outcomes`` maps a host that was reached to ``changed``, ``error`` and ``put_back`` (None if
    it was not tried, else whether it serves again what it served).
    """
    away = [host for host in hosts if host not in outcomes]
    changed = [host for host in hosts if outcomes.get(host, {}).get("changed")]
    back = [host for host in hosts if outcomes.get(host, {}).get("put_back")]
    stuck = [host for host in hosts if outcomes.get(host, {}).get("put_back") is False]
    later = "with mms_service_self_heal they come to it by themselves, else with the next run"
    absent = [f"Unreachable: {', '.join(away)}; {later}."] if away else []
    if not cause:
        what = f"{len(changed)} of {len(hosts)} hosts changed" if changed else "nothing to change"
        # A host that goes back alone serves no publication of the fleet.
        summary = f"publication {number} is served: {what}" if number else what
        if away:
            summary += f"; unreachable: {_few(away)}"
        lines = [f"Done: {summary}.", *absent]
        return {"result": "done", "summary": summary, "lines": lines, "changed": changed}
    lines = [f"FAILED: {cause}"]
    if restored is not None:
        lines.append(f"The share holds publication {restored} again.")
    if back:
        lines.append(f"Serve again what they served: {', '.join(back)}.")
    if stuck:
        lines.append(
            f"COULD NOT BE PUT BACK: {', '.join(stuck)}: run `mms rollback` there, "
            "or `mms apply` with the mms.conf of the share."
        )
    failed = [host for host in hosts if outcomes.get(host, {}).get("error")]
    as_before = [host for host in failed if host not in (*changed, *back, *stuck)]
    if as_before:
        lines.append(f"Serve still what they served: {', '.join(as_before)}.")
    untouched = [host for host in outcomes if host not in (*changed, *back, *stuck, *failed)]
    if untouched:
        lines.append(f"Not touched: {_few(untouched)}.")
    if away:
        lines.append(f"Unreachable: {', '.join(away)}; not changed by this run, or lost during it.")
    lines.append("Next: correct the cause and run the playbook again.")
    result = "failed, not all put back" if stuck else "failed, put back"
    return {"result": result, "summary": cause, "lines": lines, "changed": changed}


def _padded(cells: tuple[str, ...], count: int) -> tuple[str, ...]:
    return (*cells, *[""] * (count - len(cells)))


def _few(names: Sequence[str]) -> str:
    if len(names) <= _LONG:
        return ", ".join(names)
    return f"{', '.join(names[:_LONG])} and {len(names) - _LONG} more"
